"""Steps against Keras's own, which are those of one device."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.learning.learner import Learner
from models.learning.optimizer import ScheduledAdamW
from models.learning.schedules import Schedule
from models.reporting.system_confusion import count_systems
from models.training.steps import Feed, Steps
from pipelines import IntensityScaling, Position, load_dataset

ONE = tf.distribute.get_strategy()
TARGETS = ("space_group", "energy_keV")


def make_learner(**options):
    keras.utils.set_random_seed(0)
    images = keras.Input((3, 24, 32))
    flat = keras.layers.Flatten()(IntensityScaling()(images))
    answers = {
        "space_group": keras.layers.Dense(230, "softmax")(flat),
        "energy_keV": keras.layers.Dense(1)(flat),
    }
    learner = Learner(keras.Model(images, answers))
    learner.compile(
        ScheduledAdamW(Schedule("constant", 1e-3, 9), **options),
        {"space_group": "sparse_categorical_crossentropy", "energy_keV": "mae"},
    )
    return learner


@pytest.fixture
def train(toy_dataset):
    """Endless batches of 3, 3 and 2 samples."""
    return load_dataset(toy_dataset, "train", 3, targets=TARGETS, start=Position())


@pytest.fixture
def dev(toy_dataset):
    return load_dataset(toy_dataset, "dev", 3, targets=TARGETS)


def test_an_epoch_is_that_of_fit(toy_dataset, train):
    ours, theirs = make_learner(), make_learner()
    epoch = load_dataset(toy_dataset, "train", 3, targets=TARGETS)
    history = theirs.fit(epoch, verbose=0, shuffle=False).history

    steps = Steps(ours, ONE, train.element_spec)
    feed = Feed([train], ONE)
    losses = [steps.learn(next(feed), wishes=(0, 2.5)) for _ in range(3)]
    assert [list(wishes) for *wishes, _ in losses] == [[0, 2.5]] * 3
    assert losses[-1][-1] == pytest.approx(history["loss"][0], rel=1e-5)
    assert float(ours.get_metrics_result()["loss"]) == losses[-1][-1]
    for one, two in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_batches_of_all_sizes_share_a_graph(train):
    steps = Steps(make_learner(), ONE, train.element_spec)
    feed = Feed([train], ONE)
    for _ in range(4):
        steps.learn(next(feed))
    assert steps._learn[False].experimental_get_tracing_count() == 1
    assert steps._learn[True].experimental_get_tracing_count() == 0


def test_a_held_step_changes_no_weight_and_the_next_one_counts_for_both(train):
    held = Steps(make_learner(has_accumulation=True), ONE, train.element_spec)
    feed = Feed([train], ONE)
    before = held.fitted.get_weights()
    for number, hold in enumerate((True, True, False)):
        held.learn(next(feed), hold=hold)
        changed = (held.fitted.get_weights()[0] != before[0]).any()
        assert changed == (number == 2)

    whole = Steps(make_learner(), ONE, train.element_spec)
    parts = list(train.take(3))
    batch = tf.nest.map_structure(lambda *values: tf.concat(values, axis=0), *parts)
    whole.learn(batch)
    for one, two in zip(held.fitted.get_weights(), whole.fitted.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_judging_is_evaluating_and_counts_crystal_systems(train, dev):
    learner = make_learner()
    steps = Steps(learner, ONE, train.element_spec)
    learner.reset_metrics()
    counts = sum(steps.judge(batch) for batch in Feed([dev], ONE))
    judged = {name: float(value) for name, value in learner.get_metrics_result().items()}
    assert judged == pytest.approx(learner.evaluate(dev, verbose=0, return_dict=True), rel=1e-6)
    assert counts.sum() == sum(len(labels["space_group"]) for _, labels in dev)


def test_systems_are_those_of_the_space_groups_all_together():
    probabilities = np.zeros((4, 230), np.float32)
    probabilities[0, [224, 226, 0]] = 0.3, 0.3, 0.4  # more likely cubic than triclinic
    probabilities[1, 1] = probabilities[2, 15] = probabilities[3, 15] = 1
    labels = {"space_group": tf.constant([0, 1, 229, -1])}  # the last one is unknown
    counts = count_systems(labels, {"space_group": tf.constant(probabilities)}).numpy()
    triclinic, orthorhombic, cubic = 0, 2, 6
    expected = np.zeros((7, 7))
    expected[triclinic, cubic] = expected[triclinic, triclinic] = 1
    expected[cubic, orthorhombic] = 1
    np.testing.assert_array_equal(counts, expected)

    answers = {"crystal_system": tf.one_hot([3, 3], 7), "space_group": None}
    counts = count_systems({"crystal_system": tf.constant([3, 5])}, answers).numpy()
    assert counts[3, 3] == counts[5, 3] == 1
    assert counts.sum() == 2
    assert count_systems({}, {"energy_keV": None}) is None
