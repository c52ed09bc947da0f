"""The rooms of BUILD.md are those of the code, and imports run one way between them."""

import ast
import re
from pathlib import Path

import pytest

import cbed_tf

ROOT = Path(cbed_tf.__file__).parents[1]
TOPS = ("cbed_tf", "pipelines", "models")
# In the order in which they build on each other.
ROOMS = re.findall(
    r"^### ((?:cbed_tf|pipelines|models)[\w/]*)$", (ROOT / "BUILD.md").read_text(), re.M
)
MODULES = [path for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))]


def room_of(path):
    """The room of a file; the last of its kind for commands, which may use all of them."""
    parts = path.relative_to(ROOT).parts
    if parts[1] == "commands" or (len(parts) == 2 and path.name == "__init__.py"):
        return [room for room in ROOMS if room.split("/")[0] == parts[0]][-1]
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def imports_of(path):
    """The names of all modules that a file imports, at its head or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            # What is imported may be a module or in one.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def home_of(name):
    """The room of a module that is imported; None where the name is none of ours."""
    path = ROOT / Path(*name.split("."))
    if name.split(".")[0] not in TOPS:
        return None
    if path.with_suffix(".py").is_file():
        return room_of(path.with_suffix(".py"))
    is_room = path.is_dir() and name.count(".")
    return room_of(path / "__init__.py") if is_room else None


def test_every_folder_is_a_room_of_build_md():
    folders = {path.parent.relative_to(ROOT).as_posix() for path in MODULES}

    assert {folder for folder in folders if "commands" not in folder} == {
        *ROOMS,
        "models/networks/backbones",
    }


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room):
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    paths = [path for path in MODULES if room_of(path) == room]
    for path in paths:
        homes = {name: home_of(name) for name in imports_of(path)}
        upwards = {name for name, home in homes.items() if home and home not in allowed}
        assert not upwards, path


def test_tensorflow_and_h5py_stay_where_they_belong():
    for path in MODULES:
        tops = {name.partition(".")[0] for name in imports_of(path)}
        if path.relative_to(ROOT).parts[0] == "cbed_tf":
            assert not tops & {"tensorflow", "keras"}, path
        if path.name not in ("hdf5.py", "hdf5_attributes.py"):
            assert "h5py" not in tops, path


def test_tests_mirror_the_rooms():
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = path.parent.relative_to(ROOT / "tests").as_posix()
        assert folder in {".", "benchmarks", *ROOMS}, path
