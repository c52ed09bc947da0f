"""The stages of feeding and training a model, each as an endless iterator to be timed.

What is timed, how often and what follows from it is for others; see `benchmark.py`.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cbed_tf.conversion.shard import aligned_buffer
from cbed_tf.dataset.manifest import load_index, load_manifest
from pipelines.reading.loading import load_dataset
from pipelines.scaling import IntensityScaling

# Works from now on; yields the number of samples of each batch that is done.
Stage = Iterator[int]
# Takes images and labels as `load_dataset` yields them, and returns when a step is done.
TrainStep = Callable[[Any, dict[str, tf.Tensor]], None]


def read_at_limit(data_dir: str | os.PathLike, split: str, batch_size: int, seed: int = 0) -> Stage:
    """Reads the same bytes as the readers, in shuffled order, into one aligned buffer: no more."""
    manifest = load_manifest(data_dir)
    index = load_index(data_dir, split, ("shard", "image_offset"))
    buffer = aligned_buffer((batch_size, *manifest.image_shape), manifest.encoding.dtype)
    views = [memoryview(image).cast("B") for image in buffer]
    paths = [Path(data_dir) / shard.name for shard in manifest.split(split).shards]
    descriptors = [os.open(path, os.O_RDONLY) for path in paths]
    random = np.random.default_rng(seed)
    try:
        while True:
            rows = random.permutation(len(index["shard"]))
            for start in range(0, len(rows) - batch_size + 1, batch_size):
                for view, row in zip(views, rows[start : start + batch_size], strict=True):
                    descriptor = descriptors[index["shard"][row]]
                    os.preadv(descriptor, [view], int(index["image_offset"][row]))
                yield batch_size
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def read_batches(
    data_dir: str | os.PathLike,
    split: str,
    batch_size: int,
    reader: str,
    scaled: bool = False,
    seed: int = 0,
) -> Iterator[tuple]:
    """Yields shuffled (images, labels) of one of the readers, without end."""
    dataset = load_dataset(
        data_dir,
        split,
        batch_size,
        shuffle=True,
        seed=seed,
        reader=reader,
        scaled=scaled,
        drop_remainder=True,
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    yield from dataset.repeat().with_options(options)


def read_dataset(
    data_dir: str | os.PathLike,
    split: str,
    batch_size: int,
    reader: str,
    scaled: bool,
    seed: int = 0,
) -> Stage:
    """Reads shuffled batches with one of the readers."""
    for _ in read_batches(data_dir, split, batch_size, reader, scaled, seed):
        yield batch_size


def copy_to_device(images: Any, batch_size: int, device: str) -> Stage:
    """Copies one batch of raw intensities to a device, over and over."""
    while True:
        place_on(images, device)
        yield batch_size


def scale_on_device(images: Any, batch_size: int, device: str) -> Stage:
    """Scales one batch that is on a device, over and over, as a model's first layer does."""
    # As in a Keras model of the usual kind: compiled by XLA on a GPU, not on a CPU.
    scale = tf.function(IntensityScaling(dtype="float32"), jit_compile="GPU" in device)
    with tf.device(device):
        images = place_on(images, device)
        while True:
            scale(images)
            tf.test.experimental.sync_devices()
            yield batch_size


def repeat_step(step: TrainStep, images: Any, labels: dict, batch_size: int, device: str) -> Stage:
    """Trains on one batch that is on a device, over and over."""
    images, labels = place_on((images, labels), device)
    while True:
        step(images, labels)
        yield batch_size


def train(step: TrainStep, batches: Iterator[tuple], batch_size: int) -> Stage:
    """Trains on batches as they come from a reader."""
    for images, labels in batches:
        step(images, labels)
        yield batch_size


def place_on(tensors: Any, device: str) -> Any:
    """Returns tensors, in any structure, on a device, once they have arrived."""
    with tf.device(device):
        placed = tf.nest.map_structure(tf.identity, tensors)
    tf.test.experimental.sync_devices()
    return placed


def find_device() -> tuple[str, str]:
    """Returns where a model runs by default, as TensorFlow calls it, and for people."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "/CPU:0", f"{os.cpu_count()} CPU cores"
    return "/GPU:0", tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
