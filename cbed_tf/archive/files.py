"""Which files an archive has, and what their names say."""

import dataclasses
import os
import re
import socket
from pathlib import Path

from cbed_tf.errors import CbedError

_FILE_NAME = re.compile(r"batch_(train|dev|test)_(.+)\.h5")


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file of the archive: its path below the archive's folder, and what tells a changed one."""

    name: str
    bytes: int
    mtime_ns: int


def find_files(input_dir: str | os.PathLike) -> tuple[SourceFile, ...]:
    """Returns every .h5 file in and below a folder, in natural order of their names.

    Raises:
      CbedError: The folder does not exist, or holds no such file.
    """
    root = Path(input_dir)
    if not root.is_dir():
        raise CbedError(f"--input_dir={root} is no folder")
    paths = [path for path in root.rglob("*.h5") if not path.name.startswith(".")]
    if not paths:
        raise CbedError(f"{root} holds no .h5 file, should hold batch_{{train,dev,test}}_{{k}}.h5")
    files = []
    for path in sorted(paths, key=lambda path: _natural(path.relative_to(root).as_posix())):
        # A link to nowhere is listed too, and refused when it does not open.
        status = path.stat() if path.exists() else path.lstat()
        name = path.relative_to(root).as_posix()
        files.append(SourceFile(name, status.st_size, status.st_mtime_ns))
    return tuple(files)


def split_of(file_name: str) -> str | None:
    """Returns the split that a file's name tells, None if it tells none."""
    match = _FILE_NAME.fullmatch(Path(file_name).name)
    return match[1] if match else None


def require_input_dir(input_dir: Path) -> None:
    """Stops a run on a machine without the archive, which would else reject all of its samples.

    Raises:
      CbedError: There is no such folder.
    """
    if not input_dir.is_dir():
        raise CbedError(
            f"there is no folder {input_dir} on {socket.gethostname()}: every machine must see "
            "archive and output under the same paths"
        )


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Returns a sort key that puts batch_train_2 before batch_train_10."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
