"""README.md and BUILD.md say what is true: commands, flags, files, modules, versions."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import cbed_tf
from cbed_tf.__main__ import COMMANDS

ROOT = Path(cbed_tf.__file__).parents[1]
DOCUMENTS = ("README.md", "BUILD.md")
ROOMS = re.findall(
    r"^### ((?:cbed_tf|pipelines|models)[\w/]*)$", (ROOT / "BUILD.md").read_text(), re.M
)


def text_of(name):
    return (ROOT / name).read_text()


def commands_in(text):
    """Every `cbed …` call in a code block or in a Makefile recipe, its continued lines joined."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        match = re.match(r"\s*(?:\$ )?(?:cbed|\$\(CBED\)) (\w+)(.*)", line)
        if match:
            yield match[1], shlex.split(match[2], comments=True)


@pytest.mark.parametrize("document", [*DOCUMENTS, "Makefile"])
def test_documented_commands_and_flags_exist(document):
    for name, words in commands_in(text_of(document)):
        assert name in COMMANDS, f"{document}: cbed {name}"
        flag_values = importlib.import_module(COMMANDS[name][0]).FLAGS
        for word in words:
            if word.startswith("--"):
                flag = word[2:].partition("=")[0]
                assert flag in flag_values or flag == "flagfile", f"{document}: {name} {word}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_readme(name):
    assert f"cbed {name}" in text_of("README.md")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_uses_its_own_flags(name):
    module = importlib.import_module(COMMANDS[name][0])
    (_, words), *_ = commands_in(module.__doc__)

    assert words
    for word in words:
        assert word[2:].partition("=")[0] in module.FLAGS


@pytest.mark.parametrize("room", ROOMS)
def test_build_md_names_every_module(room):
    section = text_of("BUILD.md").split(f"### {room}\n")[1].split("\n## ")[0].split("\n### ")[0]
    named = set(re.findall(r"`(\w+)/?`", section))
    modules = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__"}

    assert modules <= named


def test_build_md_names_tests_that_exist():
    existing = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}

    assert set(re.findall(r"\btest_\w+", text_of("BUILD.md"))) <= existing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_pictures_are_there(document):
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(document)):
        assert (ROOT / target).exists(), target


def test_python_blocks_of_the_readme_compile():
    blocks = re.findall(r"```python\n(.*?)```", text_of("README.md"), re.DOTALL)

    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")


def test_the_examples_of_the_readme_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", text_of("README.md"), re.DOTALL)
    # The one that makes the data set, then those that read it.
    blocks = [block for block in blocks if '"shards"' in block]
    blocks.sort(key=lambda block: "convert_archive(" not in block)
    assert "model.fit" in blocks[0]
    assert len(blocks) >= 3

    words = [sys.executable, "-c", "\n".join(blocks)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Epoch 2/2" in done.stdout


def test_the_version_is_one():
    (version,) = re.findall(r'^version = "(.+)"', text_of("pyproject.toml"), re.MULTILINE)

    assert version == cbed_tf.__version__
    assert f"## {cbed_tf.__version__}" in text_of("CHANGELOG.md")


def test_every_requirement_is_explained_in_build_md():
    build = text_of("BUILD.md")
    for path in ROOT.glob("requirements*.txt"):
        for package in re.findall(r"^([\w-]+)==", path.read_text(), re.MULTILINE):
            assert package in build, f"{package} of {path.name}"
