# `make` lists the targets. Every target that runs something first sees to its environment, see "The environment" below.

DEMO_DIR ?= demo
DATA_DIR ?=
ARGS ?=
ARCHIVE ?=
SCRATCH ?=
RECIPES ?=
PEERS ?= --rounds=5 --seconds=3

.PHONY: help demo test test-long lint benchmark benchmark-peers benchmark-recipes clean environment test-environment peers-environment named-archive

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24
	@echo
	@echo '  PYTHON=python3.12             the Python to use'
	@echo '  REQUIREMENTS=FILE             requirements.txt or requirements-latest.txt; without it, the first that fits'
	@echo '  DEMO_DIR=FOLDER               where the demo writes (demo)'
	@echo '  DATA_DIR=FOLDER               the data set that benchmark reads (the converted sample archive)'
	@echo '  ARCHIVE=FOLDER                the archive of that data set, for the peers (the sample archive) and the recipes'
	@echo '  PEERS="--rounds=1"            what the peers are measured with; PEERS= leaves them out of benchmark'
	@echo '  RECIPES="--minutes=5"         how the recipes are compared; python tests/benchmarks/recipes --help says more'
	@echo '  SCRATCH=FOLDER                where the peers keep their files, of the archive five times (build/peers),'
	@echo '                                and the recipes theirs (build/recipes)'
	@echo '  ARGS="-k convert"             what test hands on to pytest, benchmark to cbed benchmark'
	@echo '  CBED_TEST_ARCHIVE=FOLDER      real data for the tests that can use it'

# ---- The targets

CBED = $(VENV)/bin/cbed
SAMPLE_ARCHIVE = $(shell $(VENV)/bin/python -c 'import cbed_tf; print(cbed_tf.sample_archive())')
DEMO_MARK := .made-by-make-demo

demo: environment  ## sample archive -> shards -> trained model -> scores and predictions, in demo/
	@$(call discard,$(DEMO_DIR),$(DEMO_MARK))
	@mkdir -p "$(DEMO_DIR)" && touch "$(DEMO_DIR)/$(DEMO_MARK)"
	$(CBED) inspect --input_dir="$(SAMPLE_ARCHIVE)" --output="$(DEMO_DIR)/inspect.html"
	$(CBED) convert --input_dir="$(SAMPLE_ARCHIVE)" --output_dir="$(DEMO_DIR)/shards"
	$(CBED) train --data_dir="$(DEMO_DIR)/shards" --run_dir="$(DEMO_DIR)/run" --flagfile=models/experiments/demo.flags
	$(CBED) verify --data_dir="$(DEMO_DIR)/shards" --input_dir="$(SAMPLE_ARCHIVE)"
	$(CBED) evaluate --run_dir="$(DEMO_DIR)/run" --data_dir="$(DEMO_DIR)/shards" --split=train --checkpoint=last
	$(CBED) evaluate --run_dir="$(DEMO_DIR)/run" --data_dir="$(DEMO_DIR)/shards" --split=test --checkpoint=last
	$(CBED) predict --run_dir="$(DEMO_DIR)/run" --checkpoint=last \
		--input="$(SAMPLE_ARCHIVE)/batch_test_0.h5" --output="$(DEMO_DIR)/predictions.csv" --figure="$(DEMO_DIR)/predictions.png"
	@echo
	@echo 'The demo made, in $(DEMO_DIR):'
	@echo '  inspect.html     what the archive holds, with pictures'
	@echo '  shards/          the TFRecord data set'
	@echo '  run/             the trained model, its settings, training-curve.png, scores and report-test-last.html'
	@echo '  predictions.csv  what the model says about each sample of batch_test_0.h5, some drawn in predictions.png'
	@echo
	@echo 'It has learned its 48 training samples by heart and knows little of crystals that it never saw: 24 are'
	@echo 'far too few to learn from. The scores above stand beside what guessing from the training labels gives.'

test: test-environment  ## the test suite
	$(VENV)/bin/python -m pytest $(ARGS)

test-long: test-environment  ## the tests that take minutes: a thousand damaged files, thirty kills
	$(VENV)/bin/python -m pytest -m slow -rP $(ARGS)

lint: test-environment  ## ruff check and ruff format --check
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

benchmark: environment  ## how fast this machine feeds a model, and then the peers, see below
ifeq ($(DATA_DIR),)
	rm -rf build/sample_shards
	$(CBED) convert --input_dir="$(SAMPLE_ARCHIVE)" --output_dir=build/sample_shards
endif
	$(CBED) benchmark --data_dir="$(or $(DATA_DIR),build/sample_shards)" $(ARGS)
ifneq ($(PEERS),)
ifeq ($(DATA_DIR),)
	@$(MAKE) --no-print-directory benchmark-peers
else ifneq ($(ARCHIVE),)
	@$(MAKE) --no-print-directory benchmark-peers
else
	@echo 'No peers: they read the archive that $(DATA_DIR) was made of. Name it: ARCHIVE=FOLDER'
endif
endif

benchmark-peers: peers-environment  ## other input pipelines on the same samples: half an hour, 8 GB to install
	$(PEERS_VENV)/bin/python tests/benchmarks/peers "$(or $(ARCHIVE),cbed_tf/sample_archive)" "$(or $(SCRATCH),build/peers)" \
		$(if $(DATA_DIR),--data_dir="$(DATA_DIR)") $(PEERS)

benchmark-recipes: named-archive peers-environment  ## recipes of cbed train and classical methods, 15 minutes each: hours
	$(PEERS_VENV)/bin/python tests/benchmarks/recipes "$(ARCHIVE)" "$(or $(SCRATCH),build/recipes)" $(RECIPES)

named-archive:
	@[ -n "$(ARCHIVE)" ] || { echo 'make: which archive? ARCHIVE=FOLDER' >&2; exit 1; }

clean:  ## remove the demo, the environments, build products and caches
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	@$(call discard,$(DEMO_DIR),$(DEMO_MARK))
	@$(call discard,.venv,$(VENV_MARK))
	@$(call discard,.venv-latest,$(VENV_MARK))
	@$(call discard,.venv-benchmark,$(VENV_MARK))
	@$(call discard,.venv-latest-benchmark,$(VENV_MARK))
	find . -path ./.git -prune -o -name __pycache__ -prune -exec rm -rf {} +

# $(call discard,FOLDER,MARK): removes FOLDER if it is empty, or if MARK in it says that make made it; refuses otherwise.
discard = if [ -e "$(1)/$(2)" ]; then echo 'rm -rf $(1)'; rm -rf "$(1)"; \
	elif [ -e "$(1)" ] && ! rmdir "$(1)" 2>/dev/null; then \
	echo 'make: $(1) was not made by make (no $(2) in it); move it away first' >&2; exit 1; fi

# ---- The environment
#
# The first Python that fits a requirement set, and the first set that it fits, make a virtual environment: .venv from
# requirements.txt, .venv-latest from requirements-latest.txt; with requirements-benchmark.txt on top, the same name and
# -benchmark. What went into it is stamped, so that it is made once, and
# again only when the Python, the requirement files or pyproject.toml change. A stamp is written last: an interrupted
# installation leaves none.

ifeq ($(origin PYTHON),undefined)
PYTHON := python3 python3.12 python3.11 python3.10 python3.13
endif
ifneq ($(filter-out requirements.txt requirements-latest.txt,$(REQUIREMENTS)),)
$(error REQUIREMENTS=$(REQUIREMENTS) is neither requirements.txt nor requirements-latest.txt)
endif

# Prints "SET VERSION PATH" of the first candidate that fits, or "none VERSION PATH" of the first that runs at all: a pyenv
# shim is found and yet may not run.
define PICK
seen=; \
for python in $(PYTHON); do \
  about=$$("$$python" -c 'import platform, sys; print(platform.python_version(), sys.executable)' 2>/dev/null) || continue; \
  case "$$about" in \
    3.10.*|3.11.*|3.12.*) sets='requirements.txt requirements-latest.txt';; \
    3.13.*) sets='requirements-latest.txt';; \
    *) sets=;; \
  esac; \
  for set in $$sets; do \
    case "$(REQUIREMENTS)" in ''|$$set) echo "$$set $$about"; exit;; esac; \
  done; \
  seen=$${seen:-$$about}; \
done; \
echo "none $$seen"
endef

FOUND = Python $(VERSION) ($(INTERPRETER))
MISFIT = $(if $(REQUIREMENTS),does not fit $(call ranged,$(REQUIREMENTS)),$\
	fits neither $(call ranged,requirements.txt) nor $(call ranged,requirements-latest.txt))
REFUSAL = $(if $(VERSION),$(FOUND) $(MISFIT),none of these runs here: $(PYTHON))
ranged = $(1) ($(RANGE_$(1)))
RANGE_requirements.txt := 3.10 to 3.12
RANGE_requirements-latest.txt := 3.10 to 3.13

# Asked once, and only by a target that needs it.
PICKED = $(eval PICKED := $$(shell $$(PICK)))$(PICKED)
SET = $(if $(filter requirements%,$(word 1,$(PICKED))),$(word 1,$(PICKED)),$(error $(REFUSAL)))
VERSION = $(word 2,$(PICKED))
INTERPRETER = $(wordlist 3,99,$(PICKED))
VENV = .venv$(SET:requirements%.txt=%)
PEERS_VENV = $(VENV)-benchmark
PEERS_FILES = $(SET) requirements-benchmark.txt
VENV_MARK := .made-by-make

# $(call once,STAMP,FILES,COMMAND): runs COMMAND unless STAMP says that it succeeded for FILES as they are, for this Python
# and in this folder.
once = stamp="$$(cat "$(1)" 2>/dev/null)"; now="$(VERSION) $(INTERPRETER) $(CURDIR) $$(cat $(2) | cksum)"; \
	if [ "$$stamp" != "$$now" ]; then rm -f "$(1)"; { $(3); } && echo "$$now" > "$(1)"; fi

# $(call install,FOLDER): pip install, into this environment.
install = $(1)/bin/python -m pip install --disable-pip-version-check

# $(call make_venv,FOLDER,FILES,SIZE,OPTIONS): an environment of these requirement files; options are those of venv.
define make_venv
echo 'Making $(1): $(3), so this takes a few minutes, once.' && \
($(call discard,$(1),$(VENV_MARK))) && \
mkdir $(1) && touch $(1)/$(VENV_MARK) && \
"$(INTERPRETER)" -m venv $(4) $(1) && \
$(call install,$(1)) $(patsubst %,-r %,$(2))
endef
SIZE := 2.3 GB, most of it TensorFlow
PEERS_SIZE := 8 GB, most of it TensorFlow and what torch brings

environment:
	@echo '$(FOUND) with $(SET), in $(VENV)'
	@$(call once,$(VENV)/.installed-requirements,$(SET),$(call make_venv,$(VENV),$(SET),$(SIZE)))
	@$(call once,$(VENV)/.installed-package,pyproject.toml,$(call install,$(VENV)) --quiet --no-deps -e .)

test-environment: environment
	@$(call once,$(VENV)/.installed-test,$(SET) requirements-test.txt requirements-dask.txt,$(call install,$(VENV)) --quiet -r $(SET) -r requirements-test.txt)

# With a new pip: the one of Python 3.10 is at it for half an hour and longer.
peers-environment:
	@echo '$(FOUND) with $(SET) and requirements-benchmark.txt, in $(PEERS_VENV)'
	@$(call once,$(PEERS_VENV)/.installed-requirements,$(PEERS_FILES),$(call make_venv,$(PEERS_VENV),$(PEERS_FILES),$(PEERS_SIZE),--upgrade-deps))
	@$(call once,$(PEERS_VENV)/.installed-package,pyproject.toml,$(call install,$(PEERS_VENV)) --quiet --no-deps -e .)
