"""Trains on two devices, and on one, and prints how much they differ; for test_several_devices.

A process of its own: the devices have to be made before TensorFlow is used.
"""

import json
import sys
import threading

import keras
import numpy as np
import tensorflow as tf

from cbed_tf.dataset.manifest import load_manifest
from models.distribution.strategies import local_replicas, make_strategy
from models.learning.augmented import AugmentedModel
from models.learning.learner import Learner
from models.learning.optimizer import ScheduledAdamW
from models.learning.options import TrainingOptions
from models.learning.schedules import Schedule
from models.training.steps import Steps
from models.training.training_data import TrainingData
from pipelines import Augment, Augmentation, IntensityScaling, Position

TARGETS = ("space_group", "energy_keV")


def build_network():
    images = keras.Input((3, 24, 32))
    flat = keras.layers.Flatten()(IntensityScaling()(images))
    hidden = keras.layers.Dense(8)(flat)
    hidden = keras.layers.BatchNormalization(synchronized=True, name="statistics")(hidden)
    answers = {
        "space_group": keras.layers.Dense(230, "softmax")(hidden),
        "energy_keV": keras.layers.Dense(1)(hidden),
    }
    return keras.Model(images, answers)


def compiled(learner):
    optimizer = ScheduledAdamW(Schedule("constant", 1e-2, 9), 0.1, 1.0, 0.9, has_accumulation=True)
    learner.compile(
        optimizer, {"space_group": "sparse_categorical_crossentropy", "energy_keV": "mae"}
    )
    return learner


def train(data_dir, name):
    """Returns network, learner and the samples of two epochs; every second step is held."""
    strategy = make_strategy(name)
    options = TrainingOptions(TARGETS, batch_size=4, strategy=name)
    manifest = load_manifest(data_dir)
    data = TrainingData(data_dir, manifest, options, strategy, local_replicas(strategy))
    with strategy.scope():
        keras.utils.set_random_seed(0)
        network = build_network()
        learner = compiled(Learner(network))
    steps = Steps(learner, strategy, data.element_spec)
    before = network.get_weights()
    feed = data.train(Position())
    for number in range(4):
        steps.learn(next(feed), hold=number % 2 == 0)
    means = {key: float(value) for key, value in learner.get_metrics_result().items()}
    learner.reset_metrics()
    counts = sum(steps.judge(batch) for batch in data.dev())
    means.update({f"val_{k}": float(v) for k, v in learner.get_metrics_result().items()})
    means["judged"] = int(counts.sum())
    changed = max(np.abs(a - b).max() for a, b in zip(before, network.get_weights(), strict=True))
    ids = [sorted(data.sample_ids(Position(0, step))) for step in range(2)]
    return network, means, ids, float(changed)


def draw_seeds():
    """Returns the seeds that two devices augment a batch with, and how often they drew."""
    strategy = make_strategy("mirrored")
    drawn = {}

    def note(parts, seed):
        drawn[threading.get_ident()] = seed  # each device has a thread of its own
        return parts

    with strategy.scope():
        augment = Augment(Augmentation(erasing=0.5), seed=1)
        learner = compiled(AugmentedModel(build_network(), augment))
        learner._change = note
    labels = {"space_group": tf.ones(2, tf.int32), "energy_keV": tf.ones((2, 1))}
    batch = tf.ones((2, 3, 24, 32)), labels
    Steps(learner, strategy, tf.nest.map_structure(tf.type_spec_from_value, batch))

    @tf.function
    def step():
        def on_device():
            learner.train_step(batch)
            return drawn[threading.get_ident()]

        return strategy.run(on_device)

    seeds = [seed.numpy().tolist() for seed in strategy.experimental_local_results(step())]
    return seeds, int(augment.generator.state.numpy()[1])


def main(data_dir):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    (one, means, ids, changed), (two, *found, _) = (train(data_dir, n) for n in ("one", "mirrored"))
    pairs = list(zip(one.get_weights(), two.get_weights(), strict=True))
    statistics = [network.get_layer("statistics") for network in (one, two)]
    moving = [layer.moving_mean.numpy() for layer in statistics]
    seeds, draws = draw_seeds()
    print(
        json.dumps(
            {
                "differences": {
                    "weights": max(float(np.abs(a - b).max()) for a, b in pairs),
                    "batch statistics": float(np.abs(moving[0] - moving[1]).max()),
                    "metrics": max(abs(means[k] - v) / max(1, abs(v)) for k, v in found[0].items()),
                },
                "changed": changed,
                "samples": found[1],
                "samples of one": ids,
                "seeds": seeds,
                "draws": draws,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
