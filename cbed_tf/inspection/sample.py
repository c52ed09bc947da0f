"""Finds and reads one sample of an archive, sound or not, without scanning the others' patterns."""

import dataclasses
import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cbed_tf import schema
from cbed_tf.archive import checks
from cbed_tf.archive.files import find_files, split_of
from cbed_tf.archive.hdf5 import ArchiveFile, Stack
from cbed_tf.errors import CbedError, SampleError
from cbed_tf.schema import ATTRIBUTES, IMAGE, IMAGE_DTYPE

_EXAMPLE_ID = "train/batch_train_0/sample_0_0"


@dataclasses.dataclass(frozen=True)
class Sample:
    """One sample as its file has it.

    Attributes:
      sample_id: Split, file and group.
      file: Path below the archive's folder.
      attributes: As `hdf5.ArchiveFile.attributes` returns them; None if they cannot be read.
      place: Shape of the patterns and where they lie; None if they cannot be read.
      stack: The patterns, float32 (views, height, width); None likewise.
      reason: Why the sample is refused; None if it is sound.
    """

    sample_id: str
    file: str
    attributes: Mapping[str, Any] | None
    place: Stack | None
    stack: np.ndarray | None
    reason: str | None


def find_sample(input_dir: str | os.PathLike, wanted: str, swmr: bool = False) -> Sample:
    """Reads the sample that an id names.

    Args:
      input_dir: The archive.
      wanted: Its id, 'train/batch_train_0/sample_0_1'; the split can be left out, and the file
        where there is only one.
      swmr: Open the file in single-writer multiple-reader mode.

    Raises:
      CbedError: There is no such sample, the message has the nearest ones; or its file does not
        open.
    """
    files = [file.name for file in find_files(input_dir) if split_of(file.name)]
    matching = [(file, group) for file in files if (group := _group_in(wanted, file, len(files)))]
    if not matching:
        stems = [f"{split_of(file)}/{Path(file).stem}" for file in files]
        raise CbedError(
            f"--sample={wanted} names no file of the archive; an id looks like {_EXAMPLE_ID}"
            + _nearest(wanted.rpartition("/")[0], stems, "files")
        )
    for file, group in matching:
        with ArchiveFile(Path(input_dir) / file, swmr) as archive_file:
            groups, _ = archive_file.groups()
            if group in groups:
                return _read(archive_file, file, group, groups)
    raise CbedError(
        f"{file} holds no sample {group}; an id looks like {_EXAMPLE_ID}"
        + _nearest(group, groups, "samples")
    )


def read_sample(input_dir: str | os.PathLike, file: str, group: str, swmr: bool = False) -> Sample:
    """Reads a sample whose place is known.

    Raises:
      CbedError: The file does not open.
    """
    with ArchiveFile(Path(input_dir) / file, swmr) as archive_file:
        return _read(archive_file, file, group, [group])


def _group_in(wanted: str, file: str, num_files: int) -> str | None:
    """Returns the group that an id names in a file; None if it names another file."""
    stem = Path(file).stem
    for prefix in (f"{split_of(file)}/{stem}/", f"{stem}/"):
        if wanted.startswith(prefix):
            return wanted[len(prefix) :]
    return wanted if num_files == 1 else None


def _nearest(wanted: str, names: Sequence[str], what: str) -> str:
    nearest = difflib.get_close_matches(wanted, names, n=3, cutoff=0.0)
    return f". The nearest {what}: {', '.join(nearest)}" if nearest else ""


def _read(archive_file: ArchiveFile, file: str, group: str, groups: Iterable[str]) -> Sample:
    """Reads a sample, and the attributes of its neighbours `groups`, to see if they agree."""
    place, stack, about_patterns = _read_patterns(archive_file, group)
    views = None if stack is None else len(stack)
    attributes, about_attributes = _read_attributes(archive_file, group, groups, views)
    return Sample(
        sample_id=schema.make_sample_id(split_of(file) or "?", Path(file).stem, group),
        file=file,
        attributes=attributes,
        place=place,
        stack=stack,
        reason="; ".join(filter(None, (about_attributes, about_patterns))) or None,
    )


def _read_patterns(
    archive_file: ArchiveFile, group: str
) -> tuple[Stack | None, np.ndarray | None, str | None]:
    """Returns place, patterns, and what is wrong with them; bad pixels are handed out as well."""
    place = stack = None
    try:
        place = archive_file.stack(group)
        if len(place.shape) != 3 or 0 in place.shape:
            raise SampleError(f"{IMAGE} has shape {place.shape}, should be (views, height, width)")
        pixels = np.empty(place.shape, IMAGE_DTYPE)
        archive_file.read_stack(group, pixels)
        stack = pixels
        checks.check_stack(stack)
    except SampleError as error:
        return place, stack, str(error)
    return place, stack, None


def _read_attributes(
    archive_file: ArchiveFile, group: str, groups: Iterable[str], views: int | None
) -> tuple[dict[str, Any] | None, str | None]:
    """Returns the attributes, and what is wrong with them."""
    attributes = None
    try:
        attributes = archive_file.attributes(group)
        checks.check_attributes(attributes, len(attributes["z_dirs"]) if views is None else views)
    except SampleError as error:
        return attributes, str(error)
    return attributes, _contradiction(archive_file, group, attributes, groups)


def _contradiction(
    archive_file: ArchiveFile, group: str, attributes: dict[str, Any], groups: Iterable[str]
) -> str | None:
    """Returns in what a sample differs from the others of its material in the same file."""
    views = len(attributes["z_dirs"])
    rows = [attributes]
    for other in groups:
        try:
            candidate = archive_file.attributes(other)
            if other != group and candidate["material"] == attributes["material"]:
                checks.check_attributes(candidate, views)
                rows.append(candidate)
        except SampleError:
            continue  # not the sample that was asked for
    columns = {
        field.name: schema.as_column(field, [row[field.name] for row in rows], views)
        for field in ATTRIBUTES
    }
    return checks.find_contradictions(columns).get(0)
