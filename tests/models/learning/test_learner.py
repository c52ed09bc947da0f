"""The fitted form of a model: by Keras's steps, for raw and for 16-bit patterns."""

import types

import keras
import numpy as np
import pytest

from cbed_tf.dataset.manifest import load_manifest
from models.learning.compiling import LossOptions, compile_model
from models.learning.learner import Learner
from models.networks.network import build_model
from pipelines import get_targets, load_dataset

KEYS = ("space_group", "point_group", "abc_angstrom", "composition")


def make_learner(folder, keys=KEYS, loss=None, **network):
    manifest = load_manifest(folder)
    targets = get_targets(keys)
    keras.utils.set_random_seed(0)
    model = build_model(manifest.image_shape, targets, manifest.statistics, **network)
    learner = Learner(model, manifest.encoding)
    compile_model(learner, targets, manifest, keras.optimizers.Adam(1e-3), loss)
    learner.run_eagerly = True  # quicker than tracing a graph for a step
    return model, learner


def batch_of(folder, keys=KEYS, size=8):
    return next(iter(load_dataset(folder, "train", size, targets=keys)))


@pytest.mark.parametrize("data", ["toy_dataset", "encoded_toys"])
def test_it_learns_under_the_names_of_the_log(request, data):
    folder = request.getfixturevalue(data)
    loss = LossOptions(label_smoothing=0.1, logit_adjustment=1.0, target_weights={"composition": 2})
    model, learner = make_learner(folder, loss=loss)
    batch = batch_of(folder)
    before = [np.array(weight) for weight in model.trainable_weights]
    first, *_, last = (learner.train_on_batch(*batch, return_dict=True) for _ in range(4))
    assert last["loss"] < first["loss"]
    assert all((a != b.numpy()).any() for a, b in zip(before, model.trainable_weights, strict=True))
    assert set(first) == {
        "loss", "space_group_loss", "point_group_loss", "abc_angstrom_loss", "composition_loss",
        "space_group_top1", "space_group_top5", "point_group_top1", "point_group_top5",
        "abc_angstrom_mae", "composition_mae",
    }  # fmt: skip


def test_dev_losses_are_plain_and_those_of_the_answers(toy_dataset):
    loss = LossOptions(label_smoothing=0.1, logit_adjustment=1.0, target_weights={"composition": 2})
    keys = ("space_group", "composition")
    plain, fancy = (make_learner(toy_dataset, keys, options) for options in (None, loss))
    images, labels = batch_of(toy_dataset, keys)
    found = [
        learner.test_on_batch(images, labels, return_dict=True) for _, learner in (plain, fancy)
    ]
    assert found[0]["space_group_loss"] == found[1]["space_group_loss"]
    probabilities = plain[0](images)["space_group"].numpy()
    right = probabilities[np.arange(8), labels["space_group"]]
    assert found[0]["space_group_loss"] == pytest.approx(-np.log(right).mean(), rel=1e-4)
    expected = found[1]["space_group_loss"] + 2 * found[1]["composition_loss"]
    assert found[1]["loss"] == pytest.approx(expected, rel=1e-5)

    started = [
        learner.train_on_batch(images, labels, return_dict=True) for _, learner in (plain, fancy)
    ]
    assert started[0]["space_group_loss"] == pytest.approx(found[0]["space_group_loss"], rel=1e-4)
    assert started[1]["space_group_loss"] != pytest.approx(found[1]["space_group_loss"], rel=1e-4)


def test_weights_of_losses_and_deviations_are_learnt(toy_dataset):
    """Those of a likelihood are fixed: its deviations say what is noisy."""
    loss = LossOptions(loss_weighting="learned")
    model, learner = make_learner(toy_dataset, loss=loss, uncertainty=True)
    learned = {v.path: v for v in learner.trainable_variables if "log_variance" in v.path}
    assert set(learned) == {
        f"objective/{key}_log_variance" for key in ("space_group", "point_group", "composition")
    }
    assert len(learner.trainable_variables) == len(model.trainable_variables) + 3
    spread = model.get_layer("abc_angstrom_spread").kernel
    before = np.array(spread)
    first, *_, last = (
        learner.train_on_batch(*batch_of(toy_dataset), return_dict=True) for _ in range(4)
    )
    assert last["abc_angstrom_loss"] < first["abc_angstrom_loss"]
    assert all(float(v) != 0 for v in learned.values())
    assert (before != np.array(spread)).any()


def test_a_single_target_is_not_reported_twice(toy_dataset):
    _, learner = make_learner(toy_dataset, ["space_group"])
    logs = learner.test_on_batch(*batch_of(toy_dataset, ["space_group"]), return_dict=True)
    assert list(logs) == ["loss", "space_group_top1", "space_group_top5"]


def test_absent_labels_leave_the_weights_whole(toy_dataset):
    model, learner = make_learner(toy_dataset, loss=LossOptions(label_smoothing=0.1))
    images, labels = batch_of(toy_dataset)
    labels = {key: label.numpy() for key, label in labels.items()}
    labels["space_group"][0] = labels["point_group"][0] = -1
    labels["abc_angstrom"][1] = np.nan
    labels["composition"][2] = 0
    logs = learner.train_on_batch(images, labels, return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_each_of_two_devices_has_its_share_of_the_loss(toy_dataset, monkeypatch):
    """The strategy adds up what the devices' losses teach; what is reported is the mean."""
    _, learner = make_learner(toy_dataset)
    images, labels = batch_of(toy_dataset)
    answers = learner(images)
    alone = learner.compute_loss(images, labels, answers, training=False)
    two = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr("tensorflow.distribute.get_strategy", lambda: two)
    half = learner.compute_loss(images, labels, answers, training=False)
    assert float(half) == pytest.approx(float(alone) / 2)


def test_half_precision(toy_dataset):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        _, learner = make_learner(toy_dataset, fusion="attention", dropout=0.1)
    finally:
        keras.config.set_dtype_policy("float32")
    logs = learner.train_on_batch(*batch_of(toy_dataset), return_dict=True)
    assert np.isfinite(list(logs.values())).all()


def test_a_confidently_wrong_answer_still_has_a_gradient(toy_dataset):
    """A logit 200 above all others rounds the true probability to 0; its logarithm is whole."""
    for key in ("space_group", "crystal_system", "composition"):
        model, learner = make_learner(toy_dataset, [key])
        learner.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
        images, labels = batch_of(toy_dataset, [key], size=1)
        head = model.get_layer(f"{key}_logits")
        label = labels[key].numpy()
        right = int(label[0]) if label.ndim == 1 else int(np.argmax(label[0]))
        wrong = (right + 1) % head.units
        bias = np.zeros(head.units, np.float32)
        bias[wrong] = 200
        head.bias.assign(bias)
        learner.train_on_batch(images, labels)
        change = head.bias.numpy() - bias
        assert change[right] > 0.1
        assert change[wrong] < -0.1
