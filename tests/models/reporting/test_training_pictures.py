import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.image import imread

from models.figures import patterns_figure
from models.learning.augmented import AugmentedModel
from models.networks.network import build_model
from models.reporting import training_pictures
from models.reporting.training_pictures import draw_curve, picture_batch, picture_confusion
from pipelines import Augment, Augmentation, get_targets, load_dataset
from pipelines.augmentation.layer import child_seed


@pytest.mark.parametrize("epochs", [1, 300])
def test_the_curve_has_a_panel_for_the_loss_and_each_target(tmp_path, epochs):
    losses = [3.0] * epochs
    history = {"loss": losses, "val_loss": losses, "space_group_loss": losses}
    draw_curve(tmp_path / "one.png", history)
    draw_curve(tmp_path / "two.png", {**history, "space_group_top1": [0.5] * epochs})
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert two.shape[0] == one.shape[0]
    assert two.shape[1] == pytest.approx(2 * one.shape[1], abs=1)
    assert (one[..., :3].max(axis=2) < 0.5).sum() > 100  # something dark is there


def test_a_confusion_is_a_picture():
    assert picture_confusion(np.eye(7, dtype=np.int64)).startswith(b"\x89PNG")


@pytest.mark.parametrize("is_augmented", [False, True])
def test_the_first_batch_is_shown_as_the_first_step_sees_it(toy_dataset, is_augmented, monkeypatch):
    targets = get_targets(["space_group", "energy_keV"])
    model = build_model((3, 24, 32), get_targets(["space_group"]), {})
    fitted = AugmentedModel(model, Augment(Augmentation(mirror=1.0), seed=3))
    batch = next(iter(load_dataset(toy_dataset, "train", 8, targets=[t.key for t in targets])))
    shown = {}

    def draw(images, captions):
        shown.update(images=images, captions=captions)
        return patterns_figure(images, captions)

    monkeypatch.setattr(training_pictures, "patterns_figure", draw)
    monkeypatch.setattr(tempfile, "tempdir", "/none")  # as good as a full one
    assert picture_batch(fitted if is_augmented else model, batch).startswith(b"\x89PNG")
    expected = batch[0][:6].numpy()
    expected = expected[..., ::-1] if is_augmented else expected
    np.testing.assert_allclose(shown["images"], expected, rtol=1e-4)
    first = [label[0].numpy() for label in batch[1].values()]
    assert shown["captions"][0] == f"{targets[0].class_names[first[0]]}\n{first[1][0]:.3g} keV"
    assert fitted.augment.generator.state.numpy().tolist() == [3, 0]  # left to the first step


def test_of_several_devices_the_first_batch_is_that_of_the_first(monkeypatch):
    augment = Augment(Augmentation(mirror=0.5), seed=3)
    fitted = AugmentedModel(build_model((3, 24, 32), get_targets(["space_group"]), {}), augment)
    seeds = []
    monkeypatch.setattr(augment, "augment", lambda batch, seed: seeds.append(seed) or batch)
    batch = tf.ones((2, 3, 24, 32)), {"space_group": tf.ones(2, tf.int32)}
    for devices in (1, 2):
        strategy = SimpleNamespace(num_replicas_in_sync=devices)
        monkeypatch.setattr(AugmentedModel, "distribute_strategy", strategy)
        picture_batch(fitted, batch)
    assert seeds[0].numpy().tolist() == [3, 0]
    np.testing.assert_array_equal(seeds[1], child_seed(seeds[0], 0))
