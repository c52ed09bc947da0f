"""The manifest of a data set: `dataset.json`, written last, read first.

Owns the file's form and the rule that a folder without it is no data set. The index, one
`SPLIT.index.npz` a split, lies beside it and is read and written here too.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cbed_tf.archive.files import SourceFile
from cbed_tf.dataset.encoding import ENCODINGS, Encoding
from cbed_tf.durable import write_atomically, write_columns
from cbed_tf.errors import CbedError
from cbed_tf.schema import IMAGE

MANIFEST_NAME = "dataset.json"
REJECTED_NAME = "rejected.jsonl"
CHECKSUMS_NAME = "checksums.crc32c"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Shard:
    """A TFRecord file of the data set; crc32c of the whole file as eight hexadecimal digits."""

    name: str
    samples: int
    bytes: int
    crc32c: str


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: its shards in order, and how often each space group occurs in it."""

    samples: int
    materials: int
    shards: tuple[Shard, ...]
    space_groups: Mapping[int, int]


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of a label over the training split, in its unit, flattened."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a data set is; see DESIGN of the folder in BUILD.md.

    Attributes:
      options: What the conversion was asked for and what changes its result.
      image_shape: (views, height, width) of every sample, stored as `encoding` says.
      splits: By name, in the order train, dev, test; only those that exist.
      overlaps: Number of materials, and of compositions, that occur in more than one split: 0
        materials for a split that can be trusted.
      statistics: By target name, over train (over everything where there is no train).
      source_files: The files of the archive it was made from.
      rejected: Number of samples and files in `rejected.jsonl`.
      created_by: Name and version of the writer.
    """

    options: Mapping[str, Any]
    image_shape: tuple[int, int, int]
    splits: Mapping[str, Split]
    overlaps: Mapping[str, int]
    statistics: Mapping[str, Statistics]
    source_files: tuple[SourceFile, ...]
    rejected: int
    created_by: str

    @property
    def encoding(self) -> Encoding:
        """How the patterns are stored."""
        return ENCODINGS[self.options["encoding"]]

    def split(self, name: str) -> Split:
        """Returns a split by name; raises CbedError that lists the existing ones."""
        if name not in self.splits:
            raise CbedError(f"the data set has no split {name!r}, only {', '.join(self.splits)}")
        return self.splits[name]


def load_manifest(data_dir: str | os.PathLike) -> Manifest:
    """Reads the manifest of a data set.

    Raises:
      CbedError: The folder holds no finished data set, one of another format version or encoding,
        or its manifest lacks something.
    """
    path = Path(data_dir) / MANIFEST_NAME
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CbedError(f"{data_dir} holds no finished data set: there is no {path}") from error
    except ValueError as error:
        raise CbedError(f"{path} is no JSON: {error}") from error
    if document.get("format_version") != FORMAT_VERSION:
        raise CbedError(
            f"{path} has format version {document.get('format_version')}, "
            f"this program reads {FORMAT_VERSION}"
        )
    try:
        manifest = _from_document(document)
        encoding = manifest.options["encoding"]
    except KeyError as error:
        raise CbedError(f"{path} lacks the entry {error}") from error
    except (AttributeError, TypeError) as error:
        raise CbedError(f"{path} is damaged: {error}") from error
    if encoding not in ENCODINGS:
        raise CbedError(
            f"{path} has the encoding {encoding!r}, this program reads {', '.join(ENCODINGS)}"
        )
    return manifest


def _from_document(document: Mapping[str, Any]) -> Manifest:
    return Manifest(
        options=document["options"],
        image_shape=tuple(document["image_shape"]),
        splits={
            name: Split(
                samples=split["samples"],
                materials=split["materials"],
                shards=tuple(Shard(**shard) for shard in split["shards"]),
                space_groups={int(key): value for key, value in split["space_groups"].items()},
            )
            for name, split in document["splits"].items()
        },
        overlaps=document["overlaps"],
        statistics={
            name: Statistics(tuple(value["mean"]), tuple(value["std"]))
            for name, value in document["statistics"].items()
        },
        source_files=tuple(SourceFile(**entry) for entry in document["source_files"]),
        rejected=document["rejected"],
        created_by=document["created_by"],
    )


def save_manifest(data_dir: str | os.PathLike, manifest: Manifest) -> None:
    """Writes the manifest; the data set is finished from this moment on."""
    document = {
        "format": "cbed-tf",
        "format_version": FORMAT_VERSION,
        **dataclasses.asdict(manifest),
        # For readers without this package: the features of a record, as tf.io parses them.
        "features": {
            field.name: _feature(field, manifest.image_shape[0])
            for field in manifest.encoding.fields
        },
        "image_feature": {
            "name": IMAGE,
            "dtype": manifest.encoding.dtype.str,
            "order": "C",
            "meaning": manifest.encoding.meaning,
        },
    }
    write_atomically(
        Path(data_dir) / MANIFEST_NAME, (json.dumps(document, indent=1) + "\n").encode()
    )


def _feature(field: Any, views: int) -> dict[str, Any]:
    return {
        "dtype": field.dtype,
        "shape": list(field.shape_for(views)),
        "unit": field.unit,
        "meaning": field.meaning,
    }


def index_path(data_dir: str | os.PathLike, split: str) -> Path:
    """Returns where the index of a split lies."""
    return Path(data_dir) / f"{split}.index.npz"


def load_index(
    data_dir: str | os.PathLike, split: str, columns: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Reads columns of a split's index, one row a sample, in the order of the shards.

    Args:
      data_dir: The data set.
      split: Its split.
      columns: Names; all of `Encoding.fields` and these by default: `shard` (number within the
        split), `image_offset` (position of the pattern bytes in that shard), `intensity_min` and
        `intensity_max` (before encoding).

    Raises:
      CbedError: There is no such index.
    """
    path = index_path(data_dir, split)
    try:
        with np.load(path) as index:
            return {name: index[name] for name in (columns or index.files)}
    except (OSError, ValueError, KeyError) as error:
        raise CbedError(f"the index {path} cannot be read: {error}") from error


def save_index(data_dir: str | os.PathLike, split: str, columns: Mapping[str, np.ndarray]) -> None:
    """Writes the index of a split."""
    write_columns(index_path(data_dir, split), columns)
