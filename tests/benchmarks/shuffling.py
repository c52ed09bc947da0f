"""Measures how well the readers shuffle, beside a true shuffle.

    python tests/benchmarks/shuffling.py SCRATCH_FOLDER [--samples=148006]

Reads two epochs of a data set of tiny patterns, 85 samples a shard as with 3 MiB, ten samples of a
material, with the buffer that stream has by default for 3 MiB. All figures are 1 for a true
shuffle, up to chance; the pairs behind them stand in parentheses:

- displacement: how far a sample comes from its place on the disk, on average, over a third of all.
- one material, as converted: pairs of one material within a batch, over their expected number;
  `cbed convert` has shuffled the samples over all shards.
- one material, in a row: the same if the shards had the order of the archive, a material's samples
  side by side, as those of a plain converter.
- together again: pairs within a batch that were in one batch in the epoch before, over their
  expected number.

Prints a Markdown table.
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent)]

from made_dataset import make_dataset, row_of  # noqa: E402

from pipelines import load_dataset  # noqa: E402

SAMPLES_PER_MATERIAL = 10
# 512 MiB of 3 MiB a sample.
STREAM_BUFFER = 170
WAYS = {
    "gather": {"reader": "gather"},
    "gather, shuffle_block=8": {"reader": "gather", "shuffle_block": 8},
    "gather, shuffle_block=32": {"reader": "gather", "shuffle_block": 32},
    "stream": {"reader": "stream", "shuffle_buffer": STREAM_BUFFER},
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--samples", type=int, default=148_006)
    parser.add_argument("--batch_size", type=int, default=32)
    flags = parser.parse_args(argv)
    folder = flags.scratch / "shuffling"
    print("| order | displacement | one material, as converted | in a row | together again |")
    print("| --- | ---: | ---: | ---: | ---: |")
    random = np.random.default_rng(0)
    true = [random.permutation(flags.samples) for _ in range(2)]
    print_row("true shuffle (numpy)", true, flags.batch_size)
    try:
        make_dataset(folder, flags.samples, records=True)
        for name, options in WAYS.items():
            print_row(name, read_orders(folder, flags.batch_size, options), flags.batch_size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_orders(folder, batch_size, options):
    """Returns the rows in the order in which two epochs have them."""
    dataset = load_dataset(folder, "train", batch_size, shuffle=True, sample_ids=True, **options)
    ids = dataset.map(lambda images, labels: labels["sample_id"]).unbatch().batch(10_000)
    return [row_of(np.concatenate(list(ids.as_numpy_iterator()))) for _ in range(2)]


def print_row(name, orders, batch_size):
    rows = np.arange(len(orders[0]))
    in_a_row = rows // SAMPLES_PER_MATERIAL
    as_converted = np.random.default_rng(1).permutation(in_a_row)
    again, expected = pairs_together_again(*orders, batch_size)
    figures = [f"{displacement(orders[0]):.3f}"]
    for materials in (as_converted, in_a_row):
        found, chance = pairs_of_one_material(orders[0], materials, batch_size)
        figures.append(f"{found / chance:.2f} ({found:,} of {chance:,.0f})")
    figures.append(f"{again / expected:.2f} ({again:,} of {expected:,.0f})")
    print(f"| {name} | {' | '.join(figures)} |", flush=True)


def displacement(order):
    """Returns the mean distance of places and rows, over that of a true shuffle."""
    return np.abs(order - np.arange(len(order))).mean() / (len(order) / 3)


def pairs_of_one_material(order, materials, batch_size):
    """Returns how many pairs within a batch show one material, and how many chance would give."""
    batch = batch_of_row(order, batch_size)
    all_pairs = count_pairs(np.unique(materials, return_counts=True)[1])
    found = count_pairs(count_both(batch, materials))
    return found, all_pairs * share_in_one_batch(len(order), batch_size)


def pairs_together_again(first, second, batch_size):
    """Returns how many pairs are in one batch in both epochs, and how many chance would give."""
    batches = [batch_of_row(order, batch_size) for order in (first, second)]
    pairs_of_an_epoch = count_pairs(np.bincount(batches[0]))
    return count_pairs(count_both(*batches)), pairs_of_an_epoch * share_in_one_batch(
        len(first), batch_size
    )


def batch_of_row(order, batch_size):
    batch = np.empty(len(order), np.int64)
    batch[order] = np.arange(len(order)) // batch_size
    return batch


def count_both(first, second):
    """Returns how often each pair of numbers occurs that occurs at all."""
    return np.unique(first * (second.max() + 1) + second, return_counts=True)[1]


def count_pairs(counts):
    return int((counts * (counts - 1) // 2).sum())


def share_in_one_batch(samples, batch_size):
    """Returns the share of all pairs that are within a batch."""
    sizes = np.bincount(np.arange(samples) // batch_size)
    return count_pairs(sizes) / (samples * (samples - 1) / 2)


if __name__ == "__main__":
    main()
