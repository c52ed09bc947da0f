"""Splits never part a material; overlaps are found; fractions are met; seeds repeat."""

from collections import Counter

import numpy as np
import pytest
from archives import write_archive, write_file

from cbed_tf.__main__ import main
from cbed_tf.conversion import splits
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.dataset.manifest import load_index
from cbed_tf.errors import CbedError


def columns_of(materials, samples_each=10):
    names = [f"mp-{k}" for k in range(materials) for _ in range(samples_each)]
    # Three materials in a row are polymorphs, written with other counts.
    multiples = [1 + k % 3 for k in range(materials)]
    formulas = [f"Fe{m} O{2 * m} H{m * (1 + k // 3)}" for k, m in enumerate(multiples)]
    return {
        "material": np.array(names, dtype=bytes),
        "formula": np.repeat(np.array(formulas, dtype=bytes), samples_each),
    }


@pytest.mark.parametrize("by", splits.RESPLITS)
@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (1.0, 0.0, 0.0)])
def test_groups_stay_together_and_fractions_are_met(by, fractions):
    columns = columns_of(1000)
    new = splits.resplit(columns, by, fractions, seed=0)

    names = splits.materials(columns) if by == "material" else splits.compositions(columns)
    assert splits.find_overlaps(names, new) == ()
    counts = Counter(new)
    for split, fraction in zip(splits.SPLITS, fractions, strict=True):
        assert counts[split] / 10_000 == pytest.approx(fraction, abs=0.02)


def test_by_material_parts_polymorphs_and_by_formula_does_not():
    columns = columns_of(300)
    by_material = splits.resplit(columns, "material", (0.5, 0.25, 0.25), seed=0)
    by_formula = splits.resplit(columns, "formula", (0.5, 0.25, 0.25), seed=0)

    compositions = splits.compositions(columns)
    assert splits.find_overlaps(compositions, by_material)
    assert not splits.find_overlaps(compositions, by_formula)
    assert not splits.find_overlaps(splits.materials(columns), by_formula)


def test_a_seed_repeats_and_another_differs():
    columns = columns_of(100)
    first, again, other = (
        splits.resplit(columns, "material", (0.5, 0.25, 0.25), seed) for seed in (3, 3, 4)
    )

    assert (first == again).all()
    assert (first != other).any()


def test_overlaps_count_the_samples_of_each_split():
    found = splits.find_overlaps(
        ["a", "a", "b", "c", "a", "c"], ["train", "dev", "dev", "test", "train", "train"]
    )

    assert found == (
        splits.Overlap("a", {"train": 2, "dev": 1}),
        splits.Overlap("c", {"train": 1, "test": 1}),
    )


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.5), (0.8, 0.1, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)]
)
def test_fractions_that_are_no_split_are_refused(fractions):
    with pytest.raises(CbedError, match="should be three that sum to 1"):
        ConvertOptions(split_fractions=fractions)


def test_the_files_splits_are_kept_by_default_and_audited(tmp_path, capsys):
    folder = write_archive(tmp_path / "in")
    write_file(folder / "batch_test_1.h5", range(2))  # material 0 is in train already
    words = ["convert", f"--input_dir={folder}", f"--output_dir={tmp_path}/out", "--workers=1"]

    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "in more than one split: 1 materials" in printed
    assert "WARNING" in printed


def test_a_new_split_is_written_and_has_no_overlap(tmp_path):
    folder = write_archive(tmp_path / "in", train=20, dev=0, test=0)
    options = ConvertOptions(resplit="material", split_fractions=(0.5, 0.3, 0.2))
    manifest = convert_archive(folder, tmp_path / "out", options, workers=1)

    assert [manifest.splits[name].samples for name in splits.SPLITS] == [10, 6, 4]
    assert manifest.overlaps["material"] == 0
    seen = [
        set(load_index(tmp_path / "out", name, ["material"])["material"]) for name in splits.SPLITS
    ]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 10
    # The same call finds it complete; without the option it is another conversion.
    convert_archive(folder, tmp_path / "out", options)
    with pytest.raises(CbedError, match="--resplit was material, is now None"):
        convert_archive(folder, tmp_path / "out")


@pytest.mark.parametrize(
    "flag", ["--resplit=energy", "--split_fractions=1,1,1", "--split_fractions=a"]
)
def test_wrong_flags_are_refused(tmp_path, archive, capsys, flag):
    words = ["convert", f"--input_dir={archive}", f"--output_dir={tmp_path}/out", flag]

    assert main(words) == 2
    assert not (tmp_path / "out").exists()
