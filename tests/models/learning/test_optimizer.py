"""AdamW by schedule, against Keras's own and against numpy; under `fit`, which is a loop too."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.learning.optimizer import ScheduledAdamW
from models.learning.schedules import Schedule

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(24, 5)).astype(np.float32)
LABELS = np.stack([IMAGES[:, 0] ** 2, IMAGES.sum(axis=1)], axis=1)
CONSTANT = Schedule("constant", 1e-2, updates=12)


def small_model(optimizer):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((5,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.compile(optimizer, "mse", auto_scale_loss=False, run_eagerly=True)
    return model


def fitted(optimizer, epochs=2, batch_size=4):
    model = small_model(optimizer)
    model.fit(IMAGES, LABELS, batch_size, epochs, shuffle=False, verbose=0)
    return model


def differences(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def test_it_takes_the_steps_of_keras():
    rate = keras.optimizers.schedules.CosineDecay(1e-3, 9, warmup_target=1e-2, warmup_steps=3)
    theirs = fitted(keras.optimizers.AdamW(rate, weight_decay=0.1, global_clipnorm=0.5))
    ours = fitted(ScheduledAdamW(Schedule("cosine", 1e-2, 12, warmup=0.25), 0.1, clip_norm=0.5))
    assert differences(theirs, ours) < 1e-6
    assert differences(theirs, small_model("sgd")) > 1e-2
    assert float(ours.optimizer.learning_rate) == pytest.approx(0, abs=1e-9)


def numpy_adam(gradients, momenta, rate=1e-2):
    """Adam with a changing beta_1, by its definition: means over all gradients so far."""
    weight, mean, square, product = 0.0, 0.0, 0.0, 1.0
    for number, (gradient, beta) in enumerate(zip(gradients, momenta, strict=True), start=1):
        mean, product = beta * mean + (1 - beta) * gradient, product * beta
        square = 0.999 * square + 0.001 * gradient**2
        weight -= rate * mean / (1 - product) / (np.sqrt(square / (1 - 0.999**number)) + 1e-7)
    return weight


def test_a_mean_of_changing_momentum_is_corrected_exactly():
    gradients = [1.0, -3.0, 2.0, 0.5]
    weight = keras.Variable(0.0)
    optimizer = ScheduledAdamW(Schedule("one_cycle", 1e-2, 4, warmup=0.5))
    optimizer.build([weight])
    momenta = [float(optimizer.schedule.momentum(k)) for k in range(4)]
    rates = [float(optimizer.schedule.learning_rate(k)) for k in range(4)]
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)])
    assert len(set(momenta)) > 2
    steps = [numpy_adam(gradients[: k + 1], momenta[: k + 1]) for k in range(4)]
    steps = np.diff(steps, prepend=0) / 1e-2 * rates
    assert float(weight) == pytest.approx(steps.sum(), rel=1e-4)


def test_held_gradients_add_up_to_those_of_a_larger_batch():
    whole = small_model(ScheduledAdamW(CONSTANT))
    parts = small_model(ScheduledAdamW(CONSTANT, has_accumulation=True))
    for stop in (8, 16):
        whole.train_on_batch(IMAGES[stop - 8 : stop], LABELS[stop - 8 : stop])
        for start, end, hold in ((0, 3, True), (3, 6, True), (6, 8, False)):  # of unlike sizes
            rows = slice(stop - 8 + start, stop - 8 + end)
            parts.optimizer.accumulates = hold
            before = parts.get_weights()
            with parts.optimizer.counts(end - start):
                parts.train_on_batch(IMAGES[rows], LABELS[rows])
            changed = any((a != b).any() for a, b in zip(before, parts.get_weights(), strict=True))
            assert changed is not hold
    assert differences(whole, parts) < 1e-6
    assert int(parts.optimizer.iterations) == 2  # the schedule counts updates


def test_averages_forget_the_first_weights_soon():
    model = small_model(ScheduledAdamW(CONSTANT, ema=0.5))
    model.optimizer.build(model.trainable_variables)
    expected = [weight.numpy() for weight in model.trainable_variables]
    for update in range(9):
        model.train_on_batch(IMAGES[:4], LABELS[:4])
        momentum = min(0.5, (1 + update) / (10 + update))  # 0.1 at first, 0.5 from update 8 on
        pairs = zip(expected, model.trainable_variables, strict=True)
        expected = [momentum * old + (1 - momentum) * new.numpy() for old, new in pairs]
    for average, value in zip(model.optimizer.averages, expected, strict=True):
        np.testing.assert_allclose(average.numpy(), value, rtol=1e-5, atol=1e-7)
    assert not np.allclose(expected[0], model.trainable_variables[0])


def test_an_overflow_is_left_out_and_halves_the_scale():
    weight = keras.Variable(1.0)
    optimizer = ScheduledAdamW(CONSTANT, ema=0.9, scales_loss=True)
    optimizer.build([weight])
    assert float(optimizer.scale_loss(tf.constant(2.0))) == 2.0 * 2**15
    optimizer.apply([tf.constant(np.inf)])
    state = [float(value) for value in (weight, optimizer.means[0], optimizer.averages[0])]
    assert state == [1.0, 0.0, 1.0]
    assert (int(optimizer.iterations), float(optimizer.loss_scale)) == (0, 2.0**14)
    optimizer.apply([tf.constant(2.0**14)])  # 1, when unscaled
    assert float(optimizer.means[0]) == pytest.approx(0.1)
    assert int(optimizer.iterations) == 1
    optimizer.finite_steps.assign(1999)
    optimizer.apply([tf.constant(1.0)])
    assert (float(optimizer.finite_steps), float(optimizer.loss_scale)) == (0, 2.0**15)


def test_an_overflow_among_held_gradients_costs_its_own_batch_only():
    weight, other = keras.Variable(1.0), keras.Variable(1.0)
    held = ScheduledAdamW(CONSTANT, has_accumulation=True, scales_loss=True)
    plain = ScheduledAdamW(CONSTANT)
    held.build([weight])
    plain.build([other])
    held.accumulates = True
    held.apply([tf.constant(3 * 2.0**15)])
    held.accumulates = False
    held.apply([tf.constant(np.nan)])
    plain.apply([tf.constant(3.0)])
    assert float(weight) == pytest.approx(float(other)) != 1.0


def test_it_comes_back_from_its_config():
    optimizer = ScheduledAdamW(CONSTANT, 0.1, 2.0, 0.9, has_accumulation=True, scales_loss=True)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert again.schedule == CONSTANT
