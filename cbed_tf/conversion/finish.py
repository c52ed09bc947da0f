"""Ends a conversion: what the shards add up to, as index, manifest and checksums.

Knows nothing of how the shards came about; `convert.py` calls it when all of them are there.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cbed_tf import __version__, crystal
from cbed_tf.archive.scan import Rejection
from cbed_tf.conversion.plan import Plan
from cbed_tf.conversion.shard import ShardReport
from cbed_tf.conversion.splits import compositions, find_overlaps, materials
from cbed_tf.dataset.manifest import (
    CHECKSUMS_NAME,
    REJECTED_NAME,
    Manifest,
    Split,
    Statistics,
    save_index,
    save_manifest,
)
from cbed_tf.durable import remove_leftovers, write_atomically
from cbed_tf.schema import FIELDS, PATTERN_MAX, SPLITS, as_column

# Quantities that a model may be asked for, and wants standardised.
_QUANTITIES = ("energy_keV", "d_hkls_angstrom", "abc_angstrom", "angles_degree")


def finish(output: Path, plan: Plan, reports: Sequence[ShardReport]) -> Manifest:
    """Writes index, list of refused samples, checksums and, last of all, the manifest.

    Args:
      output: The folder that holds all shards of the plan.
      plan: Of the conversion.
      reports: Of its shards, in the plan's order.
    """
    rejected = sorted(
        [*plan.scan.rejected, *(entry for report in reports for entry in report.rejected)],
        key=lambda entry: (entry.file, entry.sample_id),
    )
    splits, columns = {}, {}
    for split in SPLITS:
        of_split = [
            report
            for shard, report in zip(plan.shards, reports, strict=True)
            if shard.split == split
        ]
        if of_split:
            columns[split] = _index_columns(plan, of_split)
            splits[split] = _split_entry(columns[split], of_split)
            save_index(output, split, columns[split])
    write_atomically(output / REJECTED_NAME, _as_lines(rejected))
    manifest = Manifest(
        options=dataclasses.asdict(plan.options),
        image_shape=plan.stored_shape,
        splits=splits,
        overlaps=_audit(columns),
        statistics=_statistics(_known_columns(columns)),
        source_files=plan.scan.files,
        rejected=len(rejected),
        created_by=f"cbed-tf {__version__}",
    )
    remove_leftovers(output)
    write_atomically(output / CHECKSUMS_NAME, _checksums(splits))
    save_manifest(output, manifest)
    return manifest


def _checksums(splits: Mapping[str, Split]) -> bytes:
    """Lists the shards' checksums as `rhash --crc32c --check` and its like read them."""
    return "".join(
        f"{shard.crc32c}  {shard.name}\n" for split in splits.values() for shard in split.shards
    ).encode()


def _index_columns(plan: Plan, reports: Sequence[ShardReport]) -> dict[str, np.ndarray]:
    rows = np.concatenate([np.array(report.rows, np.int64) for report in reports])
    intensities = [pair for report in reports for pair in report.intensities]
    columns = {field.name: plan.scan.columns[field.name][rows] for field in FIELDS}
    if PATTERN_MAX in plan.encoding.beside:
        maxima = [pattern_max for report in reports for pattern_max in report.pattern_max]
        columns[PATTERN_MAX.name] = as_column(PATTERN_MAX, maxima, plan.stored_shape[0])
    columns["shard"] = np.repeat(
        np.arange(len(reports), dtype=np.int32), [len(report.rows) for report in reports]
    )
    columns["image_offset"] = np.concatenate(
        [np.array(report.image_offsets, np.int64) for report in reports]
    )
    columns["intensity_min"], columns["intensity_max"] = (
        np.array(intensities, np.float32).reshape(-1, 2).T
    )
    return columns


def _split_entry(columns: dict[str, np.ndarray], reports: Sequence[ShardReport]) -> Split:
    space_groups = Counter(columns["space_group"].tolist())
    return Split(
        samples=len(columns["shard"]),
        materials=len(np.unique(columns["material"])),
        shards=tuple(report.shard for report in reports),
        space_groups=dict(sorted(space_groups.items())),
    )


def _audit(columns: Mapping[str, dict[str, np.ndarray]]) -> dict[str, int]:
    """Counts the materials and compositions that occur in more than one split."""
    split_of_row = [split for split, rows in columns.items() for _ in rows["material"]]
    names = {"material": materials, "composition": compositions}
    return {
        kind: len(find_overlaps([n for rows in columns.values() for n in of(rows)], split_of_row))
        for kind, of in names.items()
    }


def _known_columns(columns: Mapping[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns what may be known before a test: train, or everything where there is no train."""
    if "train" in columns:
        return columns["train"]
    names = (*_QUANTITIES, "formula")
    return {name: np.concatenate([part[name] for part in columns.values()]) for name in names}


def _statistics(columns: dict[str, np.ndarray]) -> dict[str, Statistics]:
    labels = {name: columns[name] for name in _QUANTITIES}
    labels["composition"] = crystal.atomic_fractions(
        [formula.decode() for formula in columns["formula"]]
    )
    statistics = {}
    for name, column in labels.items():
        values = column.reshape(len(column), -1).astype(np.float64)
        if len(values):
            mean, std = values.mean(axis=0), values.std(axis=0)
            statistics[name] = Statistics(tuple(mean.tolist()), tuple(std.tolist()))
    return statistics


def _as_lines(rejected: Sequence[Rejection]) -> bytes:
    return "".join(json.dumps(dataclasses.asdict(entry)) + "\n" for entry in rejected).encode()
