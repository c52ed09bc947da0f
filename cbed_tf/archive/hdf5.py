"""Reads CBED archives in HDF5: where samples hide, where the bytes of their patterns lie.

Only this module and `hdf5_attributes.py`, which knows how attributes are encoded, touch h5py. What
`hdf5_headers.py` can tell from a file's bytes is taken from there, as that is several times faster;
everything else, and every refusal, comes from HDF5. Either way this module hands out plain Python
and numpy values with row k of every per-view quantity belonging to view k. Whether the values make
sense is decided in `checks.py`.
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5t

from cbed_tf.archive.hdf5_attributes import READ_ERRORS, convert_stored, read_attribute
from cbed_tf.archive.hdf5_headers import HeaderReader, open_headers
from cbed_tf.errors import CbedError, SampleError
from cbed_tf.schema import ATTRIBUTES, IMAGE

_SAMPLE_PREFIX = "sample_"


@dataclasses.dataclass(frozen=True)
class Stack:
    """Where a sample's patterns lie.

    Attributes:
      shape: (views, height, width).
      offset: Position of the bytes in the file if they lie there in one piece as little-endian
        float32, so that a positioned read gets them without HDF5; None if only HDF5 can read them.
    """

    shape: tuple[int, ...]
    offset: int | None


class ArchiveFile:
    """An open HDF5 file of samples; use it as a context manager.

    Args:
      path: The file.
      swmr: Open in single-writer multiple-reader mode, as the archive's documentation does.

    Raises:
      CbedError: The file does not open.
    """

    def __init__(self, path: str | os.PathLike, swmr: bool = False):
        self.path = Path(path)
        try:
            # Locking fails on read-only mounts and many parallel file systems; nothing here writes.
            self._file = h5py.File(self.path, "r", locking=False, swmr=swmr)
            self._has_user_block = self._file.userblock_size > 0
            self._bytes = self.path.stat().st_size
            self._headers = None if swmr else _open_headers(self._file)
            self._number = h5g.get_objinfo(self._file.id).fileno
        except READ_ERRORS as error:
            raise CbedError(f"{self.path} does not open as HDF5: {error}") from error
        self._last_group: tuple[str, h5g.GroupID] | None = None

    def __enter__(self) -> "ArchiveFile":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def groups(self) -> tuple[list[str], dict[str, str]]:
        """Returns the names of all sample groups, and of objects that are none with the reason.

        Samples lie at the top level ('sample_0_0') or one group down ('batch/sample_0_0').

        Raises:
          CbedError: The file's list of contents cannot be read.
        """
        samples: list[str] = []
        strangers: dict[str, str] = {}
        try:
            for name in _names_in(self._file, "", strangers):
                if name.startswith(_SAMPLE_PREFIX) or self._is_sample(name):
                    samples.append(name)
                elif self._is_group(name):
                    for child in _names_in(self._file[name], f"{name}/", strangers):
                        path = f"{name}/{child}"
                        if child.startswith(_SAMPLE_PREFIX) or self._is_sample(path):
                            samples.append(path)
                        else:
                            strangers[path] = f"neither a sample nor a group of samples: no {IMAGE}"
                else:
                    strangers[name] = "neither a sample nor a group of samples: no group"
        except READ_ERRORS as error:
            raise CbedError(f"{self.path}: the list of samples cannot be read: {error}") from error
        return samples, strangers

    def attributes(self, group: str) -> dict[str, Any]:
        """Returns the attributes of one sample, keyed as in `schema.ATTRIBUTES`.

        `space_group` is int, `material` and `formula` str, `energy_keV` float, `z_dirs` int64 and
        `y_dirs` float64 of shape (views, 3) with **row k of view k** (the file has them by column),
        the others float64 vectors. Floats are the file's doubles, bit by bit.

        Raises:
          SampleError: An attribute is missing or is not of its kind.
        """
        group_id = self._open(group)
        attributes = self._attributes_in_header(group_id)
        if attributes is None:
            return {field.name: read_attribute(group_id, field.name) for field in ATTRIBUTES}
        return attributes

    def attribute(self, group: str, name: str) -> Any:
        """Returns one attribute of a sample, as in `attributes`, or None where it has none.

        Raises:
          SampleError: It is not of its kind.
        """
        group_id = self._open(group)
        if not h5py.h5a.exists(group_id, name.encode()):
            return None
        return read_attribute(group_id, name)

    def stack(self, group: str) -> Stack:
        """Returns shape and place of a sample's patterns.

        Raises:
          SampleError: There are none, they are not float32, or they were never written.
        """
        place = self._stack_in_header(self._open(group))
        if place is not None:
            return Stack(*place)
        dataset = self._stack_dataset(group)
        try:
            shape, file_type = dataset.shape, dataset.get_type()
            if not any(map(file_type.equal, (h5t.IEEE_F32LE, h5t.IEEE_F32BE))):
                raise SampleError(f"{IMAGE} holds {_describe(file_type)}, should be float32")
            # None for all but contiguous data in this very file that was written.
            offset = dataset.get_offset()
            if offset is None:
                _refuse_unwritten(dataset)
            elif self._has_user_block or not file_type.equal(h5t.IEEE_F32LE):
                offset = None
        except READ_ERRORS as error:
            raise SampleError(f"{IMAGE} cannot be read: {error}") from error
        if offset is not None and offset + 4 * math.prod(shape) > self._bytes:
            raise SampleError(f"{IMAGE} should reach from byte {offset} beyond the file's end")
        return Stack(shape, offset)

    def read_stack(self, group: str, out: np.ndarray) -> None:
        """Reads a sample's patterns through HDF5 into `out`, float32 of the stack's shape.

        Raises:
          SampleError: They cannot be read, or have another shape.
        """
        dataset = self._stack_dataset(group)
        try:
            if dataset.shape != out.shape:
                raise SampleError(f"{IMAGE} has shape {dataset.shape}, should be {out.shape}")
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, out)
        except READ_ERRORS as error:
            raise SampleError(f"{IMAGE} cannot be read: {error}") from error

    def _attributes_in_header(self, group_id: h5g.GroupID) -> dict[str, Any] | None:
        address = self._header_address(group_id, b".")
        stored = None if address is None else self._headers.attributes(address)
        return None if stored is None else convert_stored(stored)

    def _stack_in_header(self, group_id: h5g.GroupID) -> tuple[tuple[int, ...], int] | None:
        address = self._header_address(group_id, IMAGE.encode())
        return None if address is None else self._headers.contiguous_float32(address)

    def _header_address(self, group_id: h5g.GroupID, name: bytes) -> int | None:
        """Returns where in this file a header lies, None where only HDF5 can read it."""
        if self._headers is None:
            return None
        try:
            # The cheapest call that finds the header, and checks its blocks on the way.
            found = h5g.get_objinfo(group_id, name)
        except READ_ERRORS:
            return None
        # Else behind a link to another file.
        return found.objno[0] if found.fileno == self._number else None

    def _open(self, group: str) -> h5g.GroupID:
        if self._last_group is None or self._last_group[0] != group:
            try:
                self._last_group = group, h5g.open(self._file.id, group.encode())
            except READ_ERRORS as error:
                raise SampleError(f"the group cannot be opened: {error}") from error
        return self._last_group[1]

    def _stack_dataset(self, group: str) -> h5d.DatasetID:
        try:
            return h5d.open(self._open(group), IMAGE.encode())
        except READ_ERRORS as error:
            raise SampleError(f"no dataset {IMAGE}: {error}") from error

    def _is_group(self, name: str) -> bool:
        return self._file.get(name, getclass=True) is h5py.Group

    def _is_sample(self, name: str) -> bool:
        return self._is_group(name) and IMAGE in self._file[name]


def _names_in(group: h5py.Group, prefix: str, strangers: dict[str, str]) -> Iterator[str]:
    """Yields the names in a group; h5py gives those that are no UTF-8 as bytes."""
    for name in group:
        if isinstance(name, str):
            yield name
        else:
            shown = name.decode(errors="backslashreplace")
            strangers[prefix + shown] = "its name is no UTF-8 text"


def _open_headers(file: h5py.File) -> HeaderReader | None:
    # Other drivers have no descriptor, or addresses that are no positions in a file.
    return open_headers(file.id.get_vfd_handle()) if file.driver == "sec2" else None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_stack(path: Path, group: str, offset: int | None, out: np.ndarray, swmr: bool) -> None:
    """Reads one sample's patterns into `out`, by a positioned read where the place is known.

    A positioned read costs half of `h5py`'s: no copy, no search for the dataset.

    Args:
      path: The HDF5 file.
      group: The sample's group in it.
      offset: `Stack.offset` of the sample.
      out: Contiguous float32 array of the stack's shape.
      swmr: As in `ArchiveFile`.

    Raises:
      SampleError: The patterns cannot be read in full.
    """
    if offset is None:
        try:
            with ArchiveFile(path, swmr) as archive_file:
                archive_file.read_stack(group, out)
        except SampleError:
            raise
        except CbedError as error:
            raise SampleError(str(error)) from error
        return
    target = memoryview(out).cast("B")
    done = 0
    try:
        with _opened(path) as descriptor:
            while done < len(target):
                count = os.preadv(descriptor, [target[done:]], offset + done)
                if count == 0:
                    raise SampleError(f"{IMAGE} ends after {done} of {len(target)} bytes")
                done += count
    except OSError as error:
        raise SampleError(f"{IMAGE} cannot be read: {error}") from error


def _describe(file_type: h5t.TypeID) -> str:
    try:
        return file_type.dtype.name
    except (TypeError, ValueError):
        return "a strange type"


def _refuse_unwritten(dataset: h5d.DatasetID) -> None:
    """Refuses data that the writer announced and never wrote: HDF5 would answer with zeros."""
    if dataset.get_storage_size() == 0:
        raise SampleError(f"{IMAGE} was never written")
    properties = dataset.get_create_plist()
    if properties.get_layout() == h5d.CHUNKED:
        per_axis = zip(dataset.shape, properties.get_chunk(), strict=True)
        expected = math.prod(-(-extent // chunk) for extent, chunk in per_axis)
        written = dataset.get_num_chunks()
        if written < expected:
            raise SampleError(f"{IMAGE} was written in part: {written} of {expected} chunks")
