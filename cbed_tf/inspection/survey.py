"""Collects what an archive holds and whether it is sound: counts, ranges, leaks, rejections.

Owns the numbers; how they are shown is left to `survey_report.py`.
"""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

from cbed_tf import crystal
from cbed_tf.archive.files import find_files, split_of
from cbed_tf.archive.scan import Rejection, Scan, scan_archive
from cbed_tf.conversion.splits import Overlap, compositions, find_overlaps, materials
from cbed_tf.inspection.intensities import Intensities, measure_patterns
from cbed_tf.schema import SPLITS

NUM_EXAMPLES = 12


@dataclasses.dataclass(frozen=True)
class SplitSurvey:
    """One split's sound samples.

    Attributes:
      files: Number of its files, the refused ones included.
      samples: Number of its samples.
      materials: Number of its materials.
      space_groups: Samples of each space group, in order.
      energies_keV: Samples of each beam energy, in order.
      intensity: Smallest and largest pixel; None where there is no sample.
      pattern_sum: Smallest and largest total intensity of a pattern; None likewise.
    """

    files: int
    samples: int
    materials: int
    space_groups: Mapping[int, int]
    energies_keV: Mapping[float, int]
    intensity: tuple[float, float] | None
    pattern_sum: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class Example:
    """A sound sample to draw: its file in the archive, and its group there."""

    file: str
    group: str


@dataclasses.dataclass(frozen=True)
class Survey:
    """What an archive holds.

    Attributes:
      files: Number of HDF5 files.
      bytes: Their total size.
      image_shape: (views, height, width) of every sample.
      splits: By name, in the order train, dev, test; only those that have files.
      through_hdf5: Samples whose patterns do not lie in one piece, which makes reading slower.
      leaks: Materials in more than one split: scores on such splits mean nothing.
      shared_compositions: Compositions in more than one split; polymorphs, mostly.
      rejected: What a conversion would refuse, by file and id.
      examples: A few samples spread over the space groups.
    """

    files: int
    bytes: int
    image_shape: tuple[int, int, int]
    splits: Mapping[str, SplitSurvey]
    through_hdf5: int
    leaks: tuple[Overlap, ...]
    shared_compositions: tuple[Overlap, ...]
    rejected: tuple[Rejection, ...]
    examples: tuple[Example, ...]

    @property
    def samples(self) -> int:
        """Number of sound samples."""
        return sum(split.samples for split in self.splits.values())

    @property
    def materials(self) -> int:
        """Number of materials; one that leaked into a second split counts once."""
        counted_again = sum(len(leak.samples) - 1 for leak in self.leaks)
        return sum(split.materials for split in self.splits.values()) - counted_again

    def space_groups(self) -> dict[int, int]:
        """Returns samples of each space group that occurs, in order."""
        total: Counter[int] = Counter()
        for split in self.splits.values():
            total.update(split.space_groups)
        return dict(sorted(total.items()))

    def crystal_systems(self) -> dict[str, int]:
        """Returns samples of each crystal system, absent ones included, in order."""
        total = dict.fromkeys(crystal.CRYSTAL_SYSTEMS, 0)
        for space_group, count in self.space_groups().items():
            total[crystal.crystal_system(space_group)] += count
        return total

    def rejected_by_kind(self) -> dict[str, list[Rejection]]:
        """Returns the rejected samples by kind of reason, the most frequent kind first."""
        kinds: dict[str, list[Rejection]] = {}
        for rejection in self.rejected:
            kinds.setdefault(reason_kind(rejection.reason), []).append(rejection)
        return dict(sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])))


def survey_archive(input_dir: str | os.PathLike, workers: int, swmr: bool = False) -> Survey:
    """Reads every attribute and every pattern of an archive.

    Args:
      input_dir: The archive.
      workers: Number of processes.
      swmr: Open the files in single-writer multiple-reader mode.

    Raises:
      CbedError: There is no archive, or not a single sample has sound attributes.
    """
    scan = scan_archive(input_dir, find_files(input_dir), workers, swmr)
    return summarise(scan, measure_patterns(input_dir, scan, workers, swmr))


def summarise(scan: Scan, intensities: Intensities) -> Survey:
    """Returns the survey of an archive whose attributes and patterns have been read."""
    sound = np.ones(len(scan.columns["source_file"]), bool)
    sound[list(intensities.refused)] = False
    columns = {name: column[sound] for name, column in scan.columns.items()}
    split_of_row = scan.splits()[sound]
    return Survey(
        files=len(scan.files),
        bytes=sum(file.bytes for file in scan.files),
        image_shape=scan.image_shape,
        splits=_summarise_splits(scan, intensities, sound),
        through_hdf5=int((columns["source_offset"] < 0).sum()),
        leaks=find_overlaps(materials(columns), split_of_row),
        shared_compositions=find_overlaps(compositions(columns), split_of_row),
        rejected=_all_rejected(scan, intensities),
        examples=tuple(
            Example(
                scan.files[columns["source_file"][row]].name, columns["source_group"][row].decode()
            )
            for row in choose_examples(columns["space_group"], columns["material"], NUM_EXAMPLES)
        ),
    )


def _summarise_splits(
    scan: Scan, intensities: Intensities, sound: np.ndarray
) -> dict[str, SplitSurvey]:
    files = Counter(split_of(file.name) for file in scan.files)
    split_of_row = scan.splits()
    splits = {}
    for split in SPLITS:
        rows = np.flatnonzero(sound & (split_of_row == split))
        if files[split]:
            splits[split] = SplitSurvey(
                files=files[split],
                samples=len(rows),
                materials=len(np.unique(scan.columns["material"][rows])),
                space_groups=_count(scan.columns["space_group"][rows]),
                energies_keV=_count(scan.columns["energy_keV"][rows]),
                intensity=_range(intensities.minimum[rows], intensities.maximum[rows]),
                pattern_sum=_range(intensities.sums[rows], intensities.sums[rows]),
            )
    return splits


def _count(values: np.ndarray) -> dict:
    names, counts = np.unique(values, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _range(lowest: np.ndarray, highest: np.ndarray) -> tuple[float, float] | None:
    return (float(lowest.min()), float(highest.max())) if len(lowest) else None


def _all_rejected(scan: Scan, intensities: Intensities) -> tuple[Rejection, ...]:
    columns = scan.columns
    for_patterns = [
        Rejection(
            columns["sample_id"][row].decode(), scan.files[columns["source_file"][row]].name, reason
        )
        for row, reason in intensities.refused.items()
    ]
    everything = [*scan.rejected, *for_patterns]
    return tuple(sorted(everything, key=lambda entry: (entry.file, entry.sample_id)))


def choose_examples(space_group: np.ndarray, material: np.ndarray, count: int) -> list[int]:
    """Returns rows of samples that show an archive's variety, the same for the same archive.

    One material of each of `count` space groups that are spread evenly over those that occur;
    where fewer occur, further materials of them.

    Args:
      space_group: Of each row.
      material: Of each row.
      count: How many rows, at most.
    """
    _, first_rows = np.unique(material, return_index=True)
    rows_of: dict[int, list[int]] = {}
    for row in sorted(first_rows.tolist()):
        rows_of.setdefault(int(space_group[row]), []).append(row)
    groups = sorted(rows_of)
    if len(groups) > count:
        groups = [groups[k] for k in np.linspace(0, len(groups) - 1, count).round().astype(int)]
    ranked = sorted(
        (rank, group, row) for group in groups for rank, row in enumerate(rows_of[group])
    )
    return [row for _, _, row in sorted(ranked[:count], key=lambda entry: entry[1:])]


# What differs between reasons of one kind: texts, lists, files, ids, numbers. A number within
# parentheses belongs to a formula, such as 'lambda(100 keV)'.
_VARIABLE = re.compile(
    r"'[^']*'|\[(?:[^][]|\[[^][]*\])*\]|\((?:\d+,?\s*)*\)|\S+\.h5\b|(?<=material )\S+"
    r"|(?<![\w(])-?\d[\w.+-]*"
)


def reason_kind(reason: str) -> str:
    """Returns a reason without what is peculiar to the sample, so that like ones can be counted."""
    return _VARIABLE.sub("…", reason.replace("\n", " ")).split(": ")[0].split(", the first at")[0]
