"""Pictures of batches: what is drawn is what is read, what is said of it is what a loss is told."""

import matplotlib.image
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cbed_tf import figures
from cbed_tf.__main__ import main
from cbed_tf.dataset.manifest import load_index
from cbed_tf.errors import CbedError
from pipelines import Augment, Augmentation, load_dataset
from pipelines.inspection.preview import _label_notes, preview


@pytest.fixture
def drawn(monkeypatch):
    """What the figures are given, in the order of the calls; nothing is drawn."""
    given = []
    for name in ("gallery_figure", "pairs_figure", "grid_figure"):
        monkeypatch.setattr(figures, name, lambda *parts, name=name: given.append((name, *parts)))
    monkeypatch.setattr(figures, "as_png", lambda figure: b"")
    return given


def test_the_command_draws_each_batch(sample_dataset, tmp_path, capsys):
    words = [f"--data_dir={sample_dataset}", "--split=test", "--batch_size=2", "--batches=2"]
    words += [f"--output={tmp_path / 'new' / 'p.png'}", f"--tensorboard_dir={tmp_path / 'board'}"]
    assert main(["preview", *words, "--augment=usual"]) == 0

    files = [tmp_path / "new" / name for name in ("p-1.png", "p-2.png")]
    assert sorted((tmp_path / "new").iterdir()) == files
    shown = [matplotlib.image.imread(file) for file in files]
    assert shown[0].shape == shown[1].shape
    assert shown[0].shape[1] > 6 * 256
    assert f"{files[1]} is written" in capsys.readouterr().out

    events = EventAccumulator(str(tmp_path / "board"), {"tensors": 0})
    events.Reload()
    assert [event.step for event in events.Tensors("preview/test")] == [1, 2]


def test_samples_are_those_of_the_index(sample_dataset, drawn):
    preview(sample_dataset, "dev", Augmentation(), batch_size=8, batches=9)

    index = load_index(sample_dataset, "dev")
    images = next(iter(load_dataset(sample_dataset, "dev", 12)))[0].numpy()
    samples = [sample for _, samples in drawn for sample in samples]
    assert [(name, len(part)) for name, part in drawn] == [
        ("gallery_figure", 8),
        ("gallery_figure", 4),
    ]
    for row, sample in enumerate(samples):
        assert sample.sample_id == index["sample_id"][row].decode()
        assert sample.formula == index["formula"][row].decode()
        assert sample.space_group == index["space_group"][row]
        assert sample.energy_keV == index["energy_keV"][row]
        assert sample.notes == ()
        np.testing.assert_array_equal(sample.z_dirs, index["z_dirs"][row])
        np.testing.assert_array_equal(sample.stack, images[row])


@pytest.mark.parametrize("folder", ["sample_dataset", "encoded_dataset"])
def test_the_first_batches_of_a_training_are_drawn(request, folder, drawn):
    folder = request.getfixturevalue(folder)
    augmentation = Augmentation(permutation=1.0, erasing=0.3)
    preview(folder, "train", augmentation, batch_size=4, batches=2, seed=6)

    augment = Augment(augmentation, seed=6)
    dataset = load_dataset(folder, "train", 4, shuffle=True, seed=6)
    for (name, before, after, _), batch in zip(drawn, dataset.take(2), strict=True):
        assert name == "pairs_figure"
        images, _ = augment(batch, training=True)
        np.testing.assert_array_equal([sample.stack for sample in after], images)
        for old, new in zip(before, after, strict=True):
            assert old.sample_id == new.sample_id
            assert sorted(map(tuple, old.z_dirs)) == sorted(map(tuple, new.z_dirs))
            for view, zone_axis in zip(new.stack, new.z_dirs, strict=True):
                same = [np.isclose(view, x, rtol=1e-4) | (view == 0) for x in old.stack]
                (own,) = [k for k in range(3) if same[k].all()]
                np.testing.assert_array_equal(old.z_dirs[own], zone_axis)


def test_mixtures_and_mirrors_say_how_they_are_labelled(sample_dataset, drawn):
    preview(sample_dataset, "train", Augmentation(mixup=0.5), batch_size=8, seed=2)

    ((_, before, after, _),) = drawn
    assert [sample.space_group for sample in after] == [sample.space_group for sample in before]
    notes = [sample.notes for sample in after if sample.notes]
    assert len(notes) >= 3
    assert all(lines[0] == "labelled" and len(lines) == 3 for lines in notes)
    one_hot = np.eye(230, dtype=np.float32)
    assert _label_notes(one_hot[151], 152) == ()
    assert _label_notes(one_hot[153], 152) == ("mirrored, labelled No. 154",)
    mixture = 0.75 * one_hot[151] + 0.25 * one_hot[61]
    assert _label_notes(mixture, 152) == ("labelled", "75% No. 152", "25% No. 62")


def test_each_augmentation_apart(sample_dataset, drawn):
    augmentation = Augmentation(mirror=0.5, erasing=0.2)
    preview(sample_dataset, "test", augmentation, apart=True)

    ((name, patterns, _),) = drawn
    stored, mirrored, erased = (pattern for _, pattern in patterns)
    assert name == "grid_figure"
    assert [title for title, _ in patterns] == ["as stored", "mirror:0.5", "erasing:0.2"]
    np.testing.assert_allclose(mirrored, stored[:, ::-1], rtol=1e-5)
    assert ((erased == stored) | (erased == 0)).all()


def test_pictures_hold_every_pattern():
    random = np.random.default_rng(0)
    before, after = (
        [figures.Panels(random.uniform(0, 1, (3, 24, 32)), "a/b/c", notes=("n",))] * 2
        for _ in range(2)
    )
    pairs = figures.pairs_figure(before, after, ("left", "right"))
    assert len(pairs.axes) == 12
    assert {"left", "right", "n"} <= {text.get_text() for text in pairs.texts}
    grid = figures.grid_figure([(str(k), before[0].stack[0]) for k in range(5)], 2, 64)
    assert [axes.get_title() for axes in grid.axes] == ["0", "1", "2", "3", "4"]
    places = [axes.get_position() for axes in grid.axes]
    assert all(0 <= p.x0 < p.x1 <= 1.001 and -0.001 <= p.y0 < p.y1 <= 1 for p in places)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--output=p.jpg"], 2, "--output=p.jpg should end in .png"),
        (["--apart"], 2, "--apart needs --augment"),
        (["--augment=blur"], 2, "--augment has 'blur', should be some of usual, rotation"),
        (["--augment=noise:-1"], 2, "noise is -1.0, should be from 0 to"),
        (["--batch_size=0"], 2, "batch_size"),
        (["--data_dir=nowhere"], 1, "nowhere"),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(tmp_path)
    assert main(["preview", f"--data_dir={tmp_path}", *words]) == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_to_draw_apart(sample_dataset):
    with pytest.raises(CbedError, match="no augmentation"):
        preview(sample_dataset, "test", Augmentation(), apart=True)
