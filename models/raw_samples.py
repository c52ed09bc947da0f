"""Raw patterns without labels, from HDF5 files, folders of them and numpy arrays.

Owns what a prediction accepts as input. Nothing is read before its turn: an archive is larger than
any memory.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cbed_tf import hdf5
from cbed_tf.checks import check_stack
from cbed_tf.errors import CbedError, SampleError
from cbed_tf.scan import Rejection
from cbed_tf.schema import IMAGE, IMAGE_DTYPE
from cbed_tf.shard import sum_areas

_HDF5_SUFFIXES = (".h5", ".hdf5")
_NUMPY_SUFFIX = ".npy"


@dataclasses.dataclass(frozen=True)
class RawSample:
    """Patterns that a model can be asked about: float32 (views, height, width), checked."""

    sample_id: str
    stack: np.ndarray


@dataclasses.dataclass(frozen=True)
class InputFile:
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


def list_inputs(input_path: Path) -> tuple[list[InputFile], list[Rejection]]:
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
            files.append(
                _list_array(path, name) if path.suffix == ".npy" else _list_hdf5(path, name)
            )
        except CbedError as error:
            rejections.append(Rejection(name, str(path), str(error)))
    return files, rejections


def _list_hdf5(path: Path, name: str) -> InputFile:
    with hdf5.ArchiveFile(path) as archive_file:
        groups, strangers = archive_file.groups()
    return InputFile(path, name, tuple(groups), tuple(strangers.items()))


def _list_array(path: Path, name: str) -> InputFile:
    array = _open_array(path)
    if array.ndim not in (3, 4):
        raise SampleError(
            f"the array has shape {array.shape}, should be (views, height, width) or "
            "(samples, views, height, width)"
        )
    # Half precision is refused: raw intensities reach from 1e-20 to beyond its largest number.
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        raise SampleError(f"the array holds {array.dtype}, should be float32 or float64")
    count = len(array) if array.ndim == 4 else 1
    return InputFile(path, name, tuple(map(str, range(count))), is_one_sample=array.ndim == 3)


def _open_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SampleError(f"the array does not open: {error}") from error


def read_samples(
    file: InputFile, image_shape: tuple[int, int, int], reduce: bool = False
) -> Iterator[RawSample | Rejection]:
    """Reads the samples of a file one by one.

    Args:
      file: From `list_inputs`.
      image_shape: (views, height, width) that the model takes.
      reduce: Sum square blocks of pixels where the patterns are larger, as `cbed convert
        --image_size` does.

    Yields:
      Each sample that the model can take, or why it cannot.
    """
    for stranger, reason in file.strangers:
        yield Rejection(f"{file.name}/{stranger}", str(file.path), reason)
    read = _array_reader(file) if file.path.suffix == _NUMPY_SUFFIX else _hdf5_reader(file)
    for sample, stack in read:
        sample_id = f"{file.name}/{sample}"
        try:
            if isinstance(stack, SampleError):
                raise stack
            stack = _fit(stack, image_shape, reduce)
            check_stack(stack)
            yield RawSample(sample_id, stack)
        except SampleError as error:
            yield Rejection(sample_id, str(file.path), str(error))


def _hdf5_reader(file: InputFile) -> Iterator[tuple[str, np.ndarray | SampleError]]:
    with hdf5.ArchiveFile(file.path) as archive_file:
        for group in file.samples:
            try:
                place = archive_file.stack(group)
                stack = np.empty(place.shape, IMAGE_DTYPE)
                if place.offset is None:
                    archive_file.read_stack(group, stack)
                else:  # without HDF5, twice as fast
                    hdf5.read_stack(file.path, group, place.offset, stack, swmr=False)
                yield group, stack
            except SampleError as error:
                yield group, error


def _array_reader(file: InputFile) -> Iterator[tuple[str, np.ndarray]]:
    array = _open_array(file.path)
    stacks = array[np.newaxis] if file.is_one_sample else array
    for sample, stack in zip(file.samples, stacks, strict=True):
        with np.errstate(over="ignore"):  # becomes infinite, and is then refused by name
            yield sample, np.asarray(stack, IMAGE_DTYPE)


def _fit(stack: np.ndarray, image_shape: tuple[int, int, int], reduce: bool) -> np.ndarray:
    """Returns patterns of the shape that a model takes, or raises SampleError."""
    if stack.shape == image_shape:
        return stack
    if reduce and _has_whole_blocks(stack.shape, image_shape):
        return sum_areas(stack, image_shape)
    raise SampleError(f"{IMAGE} has shape {stack.shape}, the model takes {image_shape}")


def _has_whole_blocks(shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> bool:
    views, size, width = image_shape
    square = size == width and len(shape) == 3 and shape[1] == shape[2]
    return square and shape[0] == views and shape[1] % size == 0
