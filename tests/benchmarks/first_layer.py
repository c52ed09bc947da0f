"""Times the model's first layer: beside other ways to a fourth root, and as a share of a step.

    python tests/benchmarks/first_layer.py [--batch_size=32] [--size=512] [--rounds=5]

A batch of (batch_size, 3, size, size) raw intensities, on the device that TensorFlow takes: the
layer, `tf.pow(x, 0.25)` alone, the layer with tf.pow instead of square roots, and, on the CPU with
one thread and its answer in memory that is there already, sqrt(sqrt(x)) in numpy. Then a training
step of each network, beside the layer on a batch of the same size. All take turns; medians, and in
parentheses the range. Prints Markdown tables.
"""

import argparse
import statistics
import time
import types

import numpy as np
import tensorflow as tf

from cbed_tf.archive.synthetic import synthetic_stack
from models.learning.compiling import compile_model
from models.learning.learner import Learner
from models.networks.network import build_model
from pipelines import IntensityScaling, get_targets
from pipelines.inspection.benchmark_stages import find_device, place_on

VIEWS = 3
STEP_BATCHES = {"small": 8, "resnet50": 4}
TARGETS = ("space_group",)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbones", nargs="*", choices=STEP_BATCHES, default=list(STEP_BATCHES))
    flags = parser.parse_args(argv)
    device, name = find_device()
    print(f"{flags.batch_size} x {VIEWS} x {flags.size} x {flags.size} float32, on {name}\n")
    compare_ways(flags, device)
    compare_steps(flags, device)


def compare_ways(flags, device):
    raw = make_batch(flags.batch_size, flags.size)
    images = place_on(tf.constant(raw), device)
    out = np.empty_like(raw)
    compiled = {"jit_compile": "GPU" in device}

    def numpy_roots():
        np.sqrt(raw, out)
        np.sqrt(out, out)

    def layer_with_pow(x):
        return tf.pow(tf.where(x > 0, x, tf.zeros_like(x)), 0.25)

    ways = {
        "first layer": on_device(tf.function(IntensityScaling(), **compiled), images),
        "first layer, with tf.pow": on_device(tf.function(layer_with_pow, **compiled), images),
        "tf.pow alone": on_device(tf.function(lambda x: tf.pow(x, 0.25), **compiled), images),
        "sqrt(sqrt) in numpy": numpy_roots,
    }
    found = take_turns(ways, flags.rounds)
    print("| way | ms a batch | of the first layer | GB/s |\n| --- | ---: | ---: | ---: |")
    for name, times in found.items():
        ratio = median_ratio(times, found["first layer"])
        speed = raw.nbytes / statistics.median(times) / 1e9
        print(f"| {name} | {milliseconds(times)} | {ratio:.2f} | {speed:.1f} |")


def compare_steps(flags, device):
    print("\n| network | batch | ms a step | ms first layer | share of the step |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for backbone in flags.backbones:
        size = min(STEP_BATCHES[backbone], flags.batch_size)
        images = place_on(tf.constant(make_batch(size, flags.size)), device)
        step, layer = make_step(backbone, images, device)
        found = take_turns({"step": step, "layer": layer}, flags.rounds)
        share = median_ratio(found["layer"], found["step"])
        times = [milliseconds(found[name]) for name in ("step", "layer")]
        print(f"| {backbone} | {size} | {times[0]} | {times[1]} | {share:.2%} |", flush=True)


def make_step(backbone, images, device):
    """Returns a training step on a batch, and its first layer alone."""
    targets = get_targets(TARGETS)
    model = Learner(build_model(images.shape[1:], targets, {}, backbone))
    # All that is asked of a manifest here: space groups have no mean to be standardised by.
    compile_model(model, targets, types.SimpleNamespace(statistics={}), "adamw")
    labels = {key: tf.zeros(len(images), tf.int32) for key in TARGETS}
    scale = tf.function(IntensityScaling(), jit_compile="GPU" in device)
    return lambda: model.train_on_batch(images, labels), on_device(scale, images)


def on_device(function, images):
    def run():
        function(images)
        tf.test.experimental.sync_devices()

    return run


def make_batch(count, size):
    """Returns intensities from 1e-19 to 1e5; one sample over and over."""
    return np.tile(synthetic_stack(0, VIEWS, size, size), (count, 1, 1, 1))


def take_turns(ways, rounds):
    """Returns seconds by name, a number a round; a round more than that warms up."""
    found = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if number:
                found[name].append(time.perf_counter() - start)
    return found


def median_ratio(above, below):
    """Returns the median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def milliseconds(times):
    median, least, most = (1e3 * f(times) for f in (statistics.median, min, max))
    return f"{median:,.1f} ({least:,.1f} to {most:,.1f})"


if __name__ == "__main__":
    main()
