"""The scripts that measure: their figures on cases worked out by hand, and a run at toy size."""

import numpy as np
import pytest
from benchmarks import first_layer, growth, kills, memory, shuffling, workers
from made_dataset import make_dataset, row_of

from pipelines import load_dataset


@pytest.mark.parametrize("records", [True, False])
def test_made_datasets_are_read(tmp_path, records):
    make_dataset(tmp_path, 200, records=records)
    more = {"sample_ids": True} if records else {}

    for reader in ("gather", "stream") if records else ("gather",):
        elements = list(load_dataset(tmp_path, "train", 64, reader=reader, **more))
        assert [len(images) for images, _ in elements] == [64, 64, 64, 8]
        assert not any(np.any(images) for images, _ in elements)
        assert not records or row_of(elements[3][1]["sample_id"]).tolist() == list(range(192, 200))


def test_figures_of_an_order_worked_out_by_hand():
    # Batches of two: {3, 0}, {1, 2}; rows 0 and 1, 2 and 3 show one material.
    order, materials = np.array([3, 0, 1, 2]), np.array([0, 0, 1, 1])

    assert shuffling.displacement(order) == (3 + 1 + 1 + 1) / 4 / (4 / 3)
    # A pair is in one batch with a chance of 2 in 6.
    assert shuffling.pairs_of_one_material(order, materials, 2) == (0, 2 * 2 / 6)
    assert shuffling.pairs_of_one_material(np.arange(4), materials, 2) == (2, 2 * 2 / 6)
    assert shuffling.pairs_together_again(order, np.array([0, 3, 2, 1]), 2) == (2, 2 * 2 / 6)
    assert shuffling.pairs_together_again(order, np.arange(4), 2) == (0, 2 * 2 / 6)


def test_a_true_shuffle_has_what_chance_gives():
    random = np.random.default_rng(3)
    first, second = (random.permutation(20_003) for _ in range(2))

    found, chance = shuffling.pairs_together_again(first, second, 32)
    assert found == pytest.approx(chance, rel=0.2)
    assert shuffling.displacement(first) == pytest.approx(1, rel=0.02)


def test_shuffling_is_measured_for_every_reader(tmp_path, capsys):
    shuffling.main([str(tmp_path), "--samples=1500", "--batch_size=8"])

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 1 + len(shuffling.WAYS)
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_growth_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "BATCHES", 40)
    for name, samples in (("small", 32), ("large", 300)):
        make_dataset(tmp_path / name, samples, records=False)

    found = growth.measure(tmp_path / "small", tmp_path / "large", 300)
    # A process that has run other tests may give memory back meanwhile.
    assert all(found[name] > 0 for name in ("loaded", "first_batch", "samples_per_second"))
    assert growth.as_row(300, [found, found]).startswith("| 300 |")


def test_memory_is_noted_at_every_tenth(sample_dataset, capsys):
    words = [str(sample_dataset), "--epochs=2", "--batch_size=4", "--readers", "gather"]
    memory.main(words)

    printed = capsys.readouterr().out
    assert "| 10/10 |" in printed
    assert printed.count("\n| 2 |") == 1
    assert f"documented {6 * 4 * 3 * 128 * 128 * 4 / 1e6:,.0f} MB" in printed


def test_the_first_layer_is_timed(capsys):
    first_layer.main(["--batch_size=2", "--size=32", "--rounds=1", "--backbones", "small"])

    printed = capsys.readouterr().out
    assert "| first layer |" in printed
    assert "| small | 2 |" in printed


def test_turns_are_taken():
    called = []
    ways = {name: lambda name=name: called.append(name) for name in "ab"}

    assert {name: len(times) for name, times in first_layer.take_turns(ways, 2).items()} == {
        "a": 2,
        "b": 2,
    }
    assert called == ["a", "b"] * 3


def write_log(folder, *losses):
    rows = [f"{epoch},{loss},{2 * loss},0.5" for epoch, loss in enumerate(losses, start=1)]
    folder.mkdir()
    (folder / "log.csv").write_text("\n".join(["epoch,loss,val_loss,waiting_share", *rows]) + "\n")
    return folder


def test_curves_of_a_killed_training_are_drawn(tmp_path):
    alone, killed = (write_log(tmp_path / name, 3.0, 2.5) for name in ("alone", "killed"))

    np.testing.assert_array_equal(kills.read_curves(alone)["val_loss"], [6.0, 5.0])
    assert "waiting_share" not in kills.read_curves(alone)
    kills.draw(tmp_path / "kills.png", alone, killed, [(1.5, 1, 2)])
    assert (tmp_path / "kills.png").stat().st_size > 10_000


def test_the_greatest_difference_is_found():
    ones, others = [np.zeros((2, 3)), np.ones(2)], [np.zeros((2, 3)), np.array([1.0, 0.75])]

    assert workers.greatest(ones, others) == 0.25


def test_pace_is_taken_from_the_last_epoch():
    row = {"seconds": 3.0, "samples_per_second": 21.4, "waiting_share": 0.0123}

    assert workers.as_row("alone", row, {"steps_per_epoch": 6}) == "| alone | 0.500 | 21 | 1.2 % |"


@pytest.mark.slow
def test_workers_are_compared(sample_dataset, tmp_path, capfd):
    train = ["--epochs=2", "--batch_size=8", "--targets=space_group"]
    workers.main([str(sample_dataset), str(tmp_path), "--", *train])

    printed = capfd.readouterr().out
    difference = float(printed.split("Greatest difference of the final weights: ")[1].split()[0])
    assert 0 < difference < 1e-3
