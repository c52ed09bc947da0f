"""Compares recipes of `cbed train` with each other and with classical methods, at equal time.

    python tests/benchmarks/recipes ARCHIVE SCRATCH_FOLDER [--minutes=15] [--seeds=3] [--only=...]
    python tests/benchmarks/recipes ARCHIVE SCRATCH_FOLDER --leave_out [--minutes=5] [--seeds=1]

Two splits are judged: dev, after training on all of train; and prototypes, structure types held out
of train (`prototypes.py` says which; ARCHIVE needs its index.json for that). Each recipe is timed
first, on each split, and then trains for as many epochs as fill the minutes; the number of epochs
is fixed before, as learning rates must know it. Then `cbed evaluate` writes its report, and the
answers of all seeds are scored together, with 95 % intervals over the materials. The last model is
judged, not the best on dev, which would have been chosen by what judges it; --checkpoint=best
--redraw shows that one.

--leave_out trains our recipe without one ingredient at a time instead (`recipe_list.py` has the
list). Writes results.json, results.md and results.png to SCRATCH_FOLDER (leave-out.* with
--leave_out) and prints the tables. What is finished is not done again: after an interruption the
same command goes on, in the middle of a training too. --redraw only reports what there is. A method
is reported on a split when all of its seeds are done.

This measures the machine as well: leave it alone meanwhile.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The repository first: tests/ has folders of the same names as it.
sys.path[:0] = [str(Path(__file__).parents[k]) for k in (3, 2)]

from benchmarks.recipes.comparison import Comparison, methods_of  # noqa: E402
from benchmarks.recipes.data_sets import SPLITS  # noqa: E402
from benchmarks.recipes.report import report  # noqa: E402
from benchmarks.recipes.trials import CHECKPOINTS  # noqa: E402

from cbed_tf.errors import CbedError  # noqa: E402

_MINUTES, _SEEDS = 15.0, 3
_LEAVE_OUT_MINUTES, _LEAVE_OUT_SEEDS = 5.0, 1


def main(argv=None):
    options = parse_options(argv)
    # Like Ctrl-C, these end what is being trained as well: it runs in a session of its own.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        comparison = Comparison(options, methods_of(options.only, options.leave_out))
        if not options.redraw:
            comparison.run()
        from benchmarks.recipes.findings import findings  # TensorFlow, not beside the trainings

        found = findings(comparison)
        print(report(found, options.scratch, results_name(options)))
    except CbedError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on")
    if found["failed"]:
        sys.exit(1)


def results_name(options):
    name = "leave-out" if options.leave_out else "results"
    return name if options.checkpoint == CHECKPOINTS[0] else f"{name}-{options.checkpoint}"


def parse_options(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = comma_separated
    parser.add_argument("archive", type=Path, help="folder of batch_*.h5")
    parser.add_argument("scratch", type=Path, help="folder for data sets, trainings and results")
    parser.add_argument(
        "--only",
        type=words,
        help="names in models/experiments, paths of flagfiles, forest, ridge; the first one is "
        "what the others are compared with. With --leave_out: ingredients",
    )
    parser.add_argument("--splits", type=words, default=list(SPLITS), help=", ".join(SPLITS))
    parser.add_argument("--seeds", type=int, help="trainings of each recipe; 3, or 1")
    parser.add_argument("--minutes", type=float, help="of a training; 15, or 5")
    parser.add_argument("--epochs", type=int, help="of a training, whatever time they take")
    parser.add_argument(
        "--timing_seconds", type=float, default=30.0, help="of epochs, before the trainings"
    )
    parser.add_argument("--checkpoint", choices=CHECKPOINTS, default=CHECKPOINTS[0])
    parser.add_argument("--resamples", type=int, default=1000, help="for the intervals")
    parser.add_argument("--leave_out", action="store_true", help="what each ingredient brings")
    parser.add_argument("--redraw", action="store_true", help="only report what is finished")
    options = parser.parse_args(argv)
    if options.seeds is None:
        options.seeds = _LEAVE_OUT_SEEDS if options.leave_out else _SEEDS
    if options.minutes is None:
        options.minutes = _LEAVE_OUT_MINUTES if options.leave_out else _MINUTES
    check_options(parser, options)
    return options


def check_options(parser, options):
    for name in options.splits:
        if name not in SPLITS:
            parser.error(f"--splits has {name}, should be of {', '.join(SPLITS)}")
    for name in ("seeds", "epochs", "minutes", "resamples"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} is {value}, should be above 0")


def comma_separated(text):
    return text.split(",")


if __name__ == "__main__":
    main()
