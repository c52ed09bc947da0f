"""Files of patterns without labels: HDF5 files, numpy arrays, folders of both.

Owns what they look like inside. Nothing is read before its turn: an archive is larger than any
memory.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cbed_tf.archive import hdf5
from cbed_tf.archive.scan import Rejection
from cbed_tf.errors import CbedError, SampleError
from cbed_tf.schema import IMAGE_DTYPE

_HDF5_SUFFIXES = (".h5", ".hdf5")
_NUMPY_SUFFIX = ".npy"
_MATERIAL_AND_ENERGY = re.compile(r"(sample_.+)_[^_]+")


@dataclasses.dataclass(frozen=True)
class PatternFile:
    """A file of samples.

    Attributes:
      path: Where it lies.
      name: Its path below the input folder without suffix; the first part of its samples' ids.
      samples: HDF5 groups, or row numbers of an array.
      strangers: What is in it and no sample, with the reason.
      is_one_sample: An array without an axis of samples.
    """

    path: Path
    name: str
    samples: tuple[str, ...]
    strangers: tuple[tuple[str, str], ...] = ()
    is_one_sample: bool = False

    @property
    def is_array(self) -> bool:
        """Whether it holds patterns and nothing else."""
        return self.path.suffix == _NUMPY_SUFFIX

    def material_of(self, sample: str) -> str:
        """Returns what the names tell: of a group sample_{i}_{e}, i counts its file's materials."""
        parent, _, group = sample.rpartition("/")
        match = _MATERIAL_AND_ENERGY.fullmatch(group)
        return "/".join(filter(None, (self.name, parent, match[1] if match else group)))


def list_files(input_path: Path) -> tuple[list[PatternFile], list[Rejection]]:
    """Lists the samples of a file, or of all HDF5 and .npy files in a folder and below it.

    Returns:
      The files, and a rejection for each that does not open.

    Raises:
      CbedError: There is no such file or folder, or no file of samples in it.
    """
    suffixes = (*_HDF5_SUFFIXES, _NUMPY_SUFFIX)
    folder = input_path if input_path.is_dir() else input_path.parent
    paths = [input_path] if input_path.is_file() else sorted(input_path.rglob("*"))
    paths = [path for path in paths if path.suffix in suffixes and path.is_file()]
    if not paths:
        raise CbedError(f"{input_path} is no file or folder of patterns in {', '.join(suffixes)}")
    files, rejections = [], []
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        try:
            list_samples = _list_array if path.suffix == _NUMPY_SUFFIX else _list_hdf5
            files.append(list_samples(path, name))
        except CbedError as error:
            rejections.append(Rejection(name, str(path), str(error)))
    return files, rejections


def _list_hdf5(path: Path, name: str) -> PatternFile:
    with hdf5.ArchiveFile(path) as archive_file:
        groups, strangers = archive_file.groups()
    return PatternFile(path, name, tuple(groups), tuple(strangers.items()))


def _list_array(path: Path, name: str) -> PatternFile:
    array = _open_array(path)
    if array.ndim not in (3, 4):
        raise SampleError(
            f"the array has shape {array.shape}, should be (views, height, width) or "
            "(samples, views, height, width)"
        )
    # Half precision is refused: raw intensities reach from 1e-20 to beyond its largest number.
    # Integers too: most are pictures or 16-bit codes, and who has counts can say so by converting.
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        raise SampleError(
            f"the array holds {array.dtype}, should be raw intensities as float32 or float64"
        )
    count = len(array) if array.ndim == 4 else 1
    return PatternFile(path, name, tuple(map(str, range(count))), is_one_sample=array.ndim == 3)


def _open_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SampleError(f"the array does not open: {error}") from error


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads an open file.

    Attributes:
      stack: Returns the patterns of a sample, float32, of whatever shape; raises SampleError.
      attribute: Returns an attribute of a sample by its name, None where it has none; raises
        SampleError where it is malformed.
    """

    stack: Callable[[str], np.ndarray]
    attribute: Callable[[str, str], Any]


@contextmanager
def opened(file: PatternFile) -> Iterator[Reader]:
    """Opens a file to read its samples."""
    if file.is_array:
        array = _open_array(file.path)
        stacks = array[np.newaxis] if file.is_one_sample else array
        yield Reader(lambda row: _as_float32(stacks[int(row)]), lambda row, name: None)
        return
    with hdf5.ArchiveFile(file.path) as archive_file:
        yield Reader(lambda group: _read_hdf5(archive_file, group), archive_file.attribute)


def _as_float32(stack: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # becomes infinite, and is then refused by name
        return np.asarray(stack, IMAGE_DTYPE)


def _read_hdf5(archive_file: hdf5.ArchiveFile, group: str) -> np.ndarray:
    place = archive_file.stack(group)
    stack = np.empty(place.shape, IMAGE_DTYPE)
    if place.offset is None:
        archive_file.read_stack(group, stack)
    else:  # without HDF5, twice as fast
        hdf5.read_stack(archive_file.path, group, place.offset, stack, swmr=False)
    return stack
