"""`load_dataset`: from a data set on disk to what `model.fit` takes.

Owns the choice between the two readers and what they have in common: the same elements, the same
errors, the same options of tf.data.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from cbed_tf.encoding import Encoding
from cbed_tf.errors import CbedError
from cbed_tf.manifest import Manifest, load_index, load_manifest
from cbed_tf.schema import IMAGE
from pipelines.gather import ImageGatherer, gather_dataset
from pipelines.labels import ClassWeights, LabelMaker
from pipelines.scaling import IntensityScaling
from pipelines.stream import stream_dataset
from pipelines.targets import get_targets

GATHER = "gather"
STREAM = "stream"
READERS = (GATHER, STREAM)
_DEFAULT_BUFFER_BYTES = 512 * 2**20
# Batches made ahead: one being taken, one ready. Each costs batch_size stacks of memory.
_PREFETCH = 2


def load_dataset(
    data_dir: str | os.PathLike,
    split: str,
    batch_size: int,
    *,
    targets: Sequence[str] = ("space_group",),
    shuffle: bool = False,
    seed: int = 0,
    reader: str = GATHER,
    shuffle_buffer: int | None = None,
    drop_remainder: bool = False,
    scaled: bool = False,
    class_weights: ClassWeights | None = None,
) -> tf.data.Dataset:
    """Loads one split for `model.fit`, `evaluate` or `predict`.

    Args:
      data_dir: Output of `cbed convert`.
      split: 'train', 'dev' or 'test'.
      batch_size: Samples a batch; the last one is smaller unless `drop_remainder`.
      targets: Keys of `pipelines.TARGETS`.
      shuffle: Visit the samples in a new order in each iteration. Unshuffled, they come in the
        order of the index.
      seed: Of the shuffling; the same seed repeats the same orders.
      reader: 'gather' (local shards, true global shuffle) or 'stream' (shuffles through a buffer).
        Both give the same elements.
      shuffle_buffer: Samples in the buffer of 'stream'; 512 MiB of them by default.
      drop_remainder: Leave out a last batch that is smaller.
      scaled: Apply `IntensityScaling()` here, for models that do not start with it.
      class_weights: Adds sample weights; see `pipelines.labels.LabelMaker`.

    Returns:
      A dataset of (images, {target: label}), or with class weights (images, {target: label},
      {target: weight}). Images are raw intensities, float32 (batch, views, height, width), or those
      scaled. Of a data set with 16-bit patterns, unscaled, they are as they are stored, so that no
      more bytes are moved to the device than were read: a dict of 'cbed_stack', uint16 (batch,
      views, height, width), and 'pattern_max', float32 (batch, views), which `IntensityScaling`
      takes as well. Labels are as `pipelines.Target` says; weights float32 (batch,). Its
      cardinality is known.

    Raises:
      CbedError: No such data set, split, target or reader, or a shard is missing.
    """
    _check_arguments(batch_size, reader, shuffle_buffer)
    manifest = load_manifest(data_dir)
    label_maker = LabelMaker(get_targets(targets), class_weights, manifest)
    paths = _shard_paths(data_dir, manifest, split)
    common = {
        "batch_size": batch_size,
        "shuffle": shuffle,
        "seed": seed,
        "drop_remainder": drop_remainder,
    }
    encoding = manifest.encoding
    num_samples = manifest.split(split).samples
    if reader == GATHER:
        beside = [field.name for field in encoding.beside]
        names = ("shard", "image_offset", *beside, *label_maker.sources)
        columns = load_index(data_dir, split, names)
        gatherer = ImageGatherer(
            paths, columns["shard"], columns["image_offset"], manifest.image_shape, encoding.dtype
        )
        dataset = gather_dataset(
            gatherer,
            {name: columns[name] for name in beside},
            *label_maker.from_columns(columns),
            num_samples,
            **common,
        )
    else:
        size = shuffle_buffer or _DEFAULT_BUFFER_BYTES // encoding.image_bytes(manifest.image_shape)
        size = max(1, min(size, num_samples))
        dataset = stream_dataset(
            [str(path) for path in paths],
            label_maker,
            shuffle_buffer=size,
            image_shape=manifest.image_shape,
            encoding=encoding,
            **common,
        )
        num_batches = num_samples // batch_size if drop_remainder else -(-num_samples // batch_size)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(num_batches))
    return _finish(dataset, encoding, scaled, has_weights=class_weights is not None)


def _finish(
    dataset: tf.data.Dataset, encoding: Encoding, scaled: bool, has_weights: bool
) -> tf.data.Dataset:
    scale = IntensityScaling(dtype="float32") if scaled else lambda images: images

    def finish(images: dict[str, tf.Tensor], labels: dict, weights: dict) -> tuple:
        images = scale(images if encoding.beside else images[IMAGE])
        return (images, labels, weights) if has_weights else (images, labels)

    dataset = dataset.map(finish)
    options = tf.data.Options()
    # The autotune thread can hold up an iterator's end by seconds; all parallelism is explicit.
    options.autotune.enabled = False
    options.deterministic = True
    return dataset.prefetch(_PREFETCH).with_options(options)


def _check_arguments(batch_size: int, reader: str, shuffle_buffer: int | None) -> None:
    if reader not in READERS:
        raise CbedError(f"reader is {reader!r}, should be one of {', '.join(READERS)}")
    if batch_size < 1:
        raise CbedError(f"batch_size is {batch_size}, should be at least 1")
    if shuffle_buffer is not None and shuffle_buffer < 1:
        raise CbedError(f"shuffle_buffer is {shuffle_buffer}, should be at least 1")


def _shard_paths(data_dir: str | os.PathLike, manifest: Manifest, split: str) -> list[Path]:
    paths = [Path(data_dir) / shard.name for shard in manifest.split(split).shards]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise CbedError(f"{len(missing)} shard(s) of the data set are missing: {missing[0]}")
    return paths
