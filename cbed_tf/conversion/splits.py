"""Which samples may be learned from and which are kept for judging, and whether the two mix.

The split is in the file's name unless a new one is asked for, and a new one never parts the samples
of one material: split at random by sample, published scores doubled without a model learning more.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cbed_tf.errors import CbedError
from cbed_tf.notation import reduced_formula
from cbed_tf.schema import SPLITS

BY_MATERIAL = "material"
BY_FORMULA = "formula"
RESPLITS = (BY_MATERIAL, BY_FORMULA)
DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)


@dataclasses.dataclass(frozen=True)
class Overlap:
    """A material or a composition that occurs in several splits, with its samples in each."""

    name: str
    samples: Mapping[str, int]


def find_overlaps(names: Iterable[str], split_of_row: Sequence[str]) -> tuple[Overlap, ...]:
    """Returns the names that occur in more than one split, in their order.

    Args:
      names: Of each sample, its material or its composition.
      split_of_row: Of each sample, its split.
    """
    counts: dict[str, Counter[str]] = {}
    for name, split in zip(names, split_of_row, strict=True):
        counts.setdefault(name, Counter())[split] += 1
    return tuple(
        Overlap(name, {split: counts[name][split] for split in SPLITS if counts[name][split]})
        for name in sorted(counts)
        if len(counts[name]) > 1
    )


def materials(columns: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the material of each row."""
    return [name.decode() for name in columns["material"]]


def compositions(columns: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the composition of each row: Ca1 B6 and Ca2 B12 are one."""
    return [reduced_formula(formula.decode()) for formula in columns["formula"]]


def check_fractions(fractions: Sequence[float]) -> None:
    """Refuses fractions that are no split.

    Raises:
      CbedError: They are not three, not positive enough for a training split, or do not sum to 1.
    """
    if (
        len(fractions) != len(SPLITS)
        or min(fractions) < 0
        or fractions[0] == 0
        or abs(sum(fractions) - 1) > 1e-6
    ):
        raise CbedError(
            f"split_fractions are {list(fractions)}, should be three that sum to 1, for "
            f"{', '.join(SPLITS)}; only train must be above 0"
        )


def resplit(
    columns: Mapping[str, np.ndarray], by: str, fractions: Sequence[float], seed: int
) -> np.ndarray:
    """Returns a new split for each row; rows of one material, or composition, stay together.

    They are taken in an order that a keyed hash gives, and fill train, dev and test in turn: the
    same archive and seed give the same split on any machine.

    Args:
      columns: Index columns of all samples.
      by: BY_MATERIAL, or BY_FORMULA: stricter, polymorphs of a compound stay together.
      fractions: Of the samples, for train, dev and test; met as far as whole groups allow.
      seed: Of the order.
    """
    names = materials(columns) if by == BY_MATERIAL else compositions(columns)
    sizes = Counter(names)
    key = f"resplit {seed}".encode()
    order = sorted(sizes, key=lambda name: (_hash(name, key), name))
    bounds = np.cumsum(fractions) * len(names)
    split_of_name, filled = {}, 0
    for name in order:
        # By its middle, so that large groups err to both sides alike.
        position = np.searchsorted(bounds[:-1], filled + sizes[name] / 2, side="right")
        split_of_name[name] = SPLITS[position]
        filled += sizes[name]
    return np.array([split_of_name[name] for name in names], dtype=object)


def _hash(name: str, key: bytes) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8, key=key).digest()
