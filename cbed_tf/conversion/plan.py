"""Decides what goes where before a byte is written, and remembers it.

The plan is a function of archive, options and seed alone, so any number of workers, and any number
of interrupted runs, write the same shards. It is kept in the output folder until the data set is
finished: a rerun neither scans again nor can mix two conversions.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cbed_tf.archive.files import SourceFile
from cbed_tf.archive.scan import Rejection, Scan
from cbed_tf.conversion.splits import DEFAULT_FRACTIONS, RESPLITS, check_fractions, resplit
from cbed_tf.dataset.encoding import ENCODINGS, FLOAT32, Encoding
from cbed_tf.durable import write_atomically, write_columns
from cbed_tf.errors import CbedError
from cbed_tf.schema import SPLITS

# An example's labels, framing and feature names take about this much beside the patterns.
_LABEL_BYTES = 1024


@dataclasses.dataclass(frozen=True)
class ConvertOptions:
    """What the result of a conversion depends on, beside the archive.

    Attributes:
      shard_size_mb: Upper size of a shard in MiB; one sample makes the smallest shard.
      seed: Of the order of the samples within each split.
      image_size: Width and height of the stored patterns, reduced by area sums; None keeps them.
      encoding: Of the stored patterns; name in `encoding.ENCODINGS`.
      resplit: None for the splits that the files name, else what a new split keeps together:
        'material' or 'formula'.
      split_fractions: Of a new split: train, dev, test.
    """

    shard_size_mb: int = 256
    seed: int = 0
    image_size: int | None = None
    encoding: str = FLOAT32
    resplit: str | None = None
    split_fractions: tuple[float, float, float] = DEFAULT_FRACTIONS

    def __post_init__(self) -> None:
        if self.shard_size_mb < 1:
            raise CbedError(f"shard_size_mb is {self.shard_size_mb}, should be at least 1")
        if self.image_size is not None and self.image_size < 1:
            raise CbedError(f"image_size is {self.image_size}, should be at least 1")
        if self.encoding not in ENCODINGS:
            raise CbedError(
                f"encoding is {self.encoding!r}, should be one of {', '.join(ENCODINGS)}"
            )
        if self.resplit not in (None, *RESPLITS):
            raise CbedError(f"resplit is {self.resplit!r}, should be one of {', '.join(RESPLITS)}")
        check_fractions(self.split_fractions)
        # A file brings it back as a list.
        object.__setattr__(self, "split_fractions", tuple(self.split_fractions))

    def stored_shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Returns the shape of a stored stack, (views, height, width).

        Raises:
          CbedError: The patterns cannot be reduced to `image_size` in whole blocks of pixels.
        """
        if self.image_size is None:
            return image_shape
        views, height, width = image_shape
        if height != width or height % self.image_size:
            raise CbedError(
                f"image_size is {self.image_size}, should divide the patterns' {height} x {width} "
                "pixels into whole square blocks"
            )
        return views, self.image_size, self.image_size


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """A shard to be written: rows [start, stop) of the plan's columns."""

    name: str
    split: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that a conversion will do.

    Attributes:
      options: As asked for.
      scan: The archive; its rows are in the order of the shards.
      shards: What each shard holds.
    """

    options: ConvertOptions
    scan: Scan
    shards: tuple[ShardPlan, ...]

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """The shape of a stored stack, (views, height, width)."""
        return self.options.stored_shape(self.scan.image_shape)

    @property
    def encoding(self) -> Encoding:
        """How patterns are stored."""
        return ENCODINGS[self.options.encoding]

    def image_bytes(self) -> int:
        """Returns the bytes of a stored stack."""
        return self.encoding.image_bytes(self.stored_shape)


def make_plan(scan: Scan, options: ConvertOptions) -> Plan:
    """Orders the samples and cuts them into shards of nearly equal numbers of samples."""
    image_bytes = Plan(options, scan, ()).image_bytes()
    per_shard = max(1, options.shard_size_mb * 2**20 // (image_bytes + _LABEL_BYTES))
    splits = scan.splits()
    if options.resplit:
        splits = resplit(scan.columns, options.resplit, options.split_fractions, options.seed)
    order, shards = [], []
    for split in SPLITS:
        rows = np.flatnonzero(splits == split)
        if len(rows):
            shards += _cut(split, sum(map(len, order)), len(rows), -(-len(rows) // per_shard))
            order.append(rows[_shuffled(scan.columns["sample_id"][rows], options.seed)])
    rows = np.concatenate(order)
    columns = {name: column[rows] for name, column in scan.columns.items()}
    return Plan(options, dataclasses.replace(scan, columns=columns), tuple(shards))


def _shuffled(sample_ids: np.ndarray, seed: int) -> np.ndarray:
    # By a keyed hash, not a random generator: stable over library versions, and a sample that is
    # added to the archive does not change the order of the others.
    key = str(seed).encode()
    hashes = [
        hashlib.blake2b(sample_id, digest_size=8, key=key).digest() for sample_id in sample_ids
    ]
    return np.array(sorted(range(len(hashes)), key=lambda row: (hashes[row], sample_ids[row])))


def _cut(split: str, first_row: int, samples: int, num_shards: int) -> Iterator[ShardPlan]:
    bounds = [first_row + samples * k // num_shards for k in range(num_shards + 1)]
    for k in range(num_shards):
        name = f"{split}-{k:05d}-of-{num_shards:05d}.tfrecord"
        yield ShardPlan(name, split, bounds[k], bounds[k + 1])


def save_plan(folder: Path, plan: Plan) -> None:
    """Writes a plan; it exists in full or not at all."""
    write_columns(folder / "plan.npz", plan.scan.columns)
    document = {
        "options": dataclasses.asdict(plan.options),
        "image_shape": plan.scan.image_shape,
        "files": [dataclasses.asdict(file) for file in plan.scan.files],
        "rejected": [dataclasses.asdict(rejection) for rejection in plan.scan.rejected],
        "shards": [dataclasses.asdict(shard) for shard in plan.shards],
    }
    write_atomically(folder / "plan.json", json.dumps(document).encode())


def load_plan(folder: Path) -> Plan | None:
    """Reads the plan of an unfinished conversion; None if there is none."""
    try:
        document = json.loads((folder / "plan.json").read_text())
    except FileNotFoundError:
        return None
    with np.load(folder / "plan.npz") as columns:
        scan = Scan(
            files=tuple(SourceFile(**file) for file in document["files"]),
            image_shape=tuple(document["image_shape"]),
            columns=dict(columns),
            rejected=tuple(Rejection(**rejection) for rejection in document["rejected"]),
        )
    shards = tuple(ShardPlan(**shard) for shard in document["shards"])
    return Plan(ConvertOptions(**document["options"]), scan, shards)


def find_difference(
    old_options: Mapping[str, Any],
    new_options: Mapping[str, Any],
    old_files: tuple[SourceFile, ...],
    new_files: tuple[SourceFile, ...],
) -> str | None:
    """Says in what a conversion differs from the one that an output folder holds; None if not."""
    for name, new in new_options.items():
        old = old_options.get(name)
        if json.dumps(old) != json.dumps(new):  # a tuple comes back from a file as a list
            return f"--{name} was {old}, is now {new}"
    old, new = ({file.name: file for file in files} for files in (old_files, new_files))
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            return f"the archive no longer holds {name}"
        if name not in old:
            return f"the archive now holds {name} as well"
        if old[name] != new[name]:
            return f"{name} has changed since (size or time of modification)"
    return None
