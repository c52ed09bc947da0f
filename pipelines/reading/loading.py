"""`load_dataset`: from a data set on disk to what `model.fit` takes.

Owns the choice between the two readers and what they have in common: the same elements, the same
errors, the same options of tf.data.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from cbed_tf.dataset.manifest import Manifest
from cbed_tf.errors import CbedError
from cbed_tf.schema import IMAGE
from pipelines.labels import ClassWeights, LabelMaker
from pipelines.reading.epochs import epochs_from, steps_of
from pipelines.reading.gather import ImageGatherer, gather_dataset
from pipelines.reading.order import BatchPlan, Hosts, Position, SampleOrder
from pipelines.reading.remote import is_url, load_index, load_manifest, read_bytes, shard_urls
from pipelines.reading.stream import ShardOrder, StreamOptions, element_maker, stream_dataset
from pipelines.scaling import IntensityScaling
from pipelines.targets import TARGETS, get_inputs, get_targets

GATHER = "gather"
STREAM = "stream"
READERS = (GATHER, STREAM)
AUTO = "auto"
SAMPLE_ID = "sample_id"
_DEFAULT_BUFFER_BYTES = 512 * 2**20
# Batches made ahead: one being taken, one ready.
_PREFETCH = 2
# Batches that `gather` reads side by side.
_READ_THREADS = 2


def load_dataset(
    data_dir: str | os.PathLike,
    split: str,
    batch_size: int,
    *,
    targets: Sequence[str] = ("space_group",),
    inputs: Sequence[str] = (),
    shuffle: bool = False,
    seed: int = 0,
    start: Position | None = None,
    num_hosts: int = 1,
    host_index: int = 0,
    drop_remainder: bool = False,
    balance: float = 0.0,
    class_weights: ClassWeights | None = None,
    sample_ids: bool = False,
    scaled: bool = False,
    device: str | None = None,
    reader: str = AUTO,
    shuffle_block: int = 0,
    shuffle_buffer: int | None = None,
    deterministic: bool = True,
) -> tf.data.Dataset:
    """Loads one split for `model.fit`, `evaluate` or `predict`.

    Memory: 'gather' needs up to 6 batches (2 being read, 2 ready, 2 with the model); 'stream' as
    many, and up to three times its shuffle buffer, as freed memory is kept (`memory.py`).

    Args:
      data_dir: Output of `cbed convert`: a folder, or a URL (see `SCHEMES` in `remote.py`).
      split: 'train', 'dev' or 'test'.
      batch_size: Samples a batch; the last one is smaller unless `drop_remainder`.
      targets: Keys of `pipelines.TARGETS`.
      inputs: What a model is told beside the patterns, of `pipelines.targets.INPUTS`; no targets.
      shuffle: Visit the samples in a new order in each epoch. Unshuffled, they come in the order
        of the index.
      seed: Of the shuffling; the same seed repeats the same orders.
      start: Where to begin: the dataset then has no end, one epoch follows the other, and every
        iteration is the same. By default an iteration is one epoch, the n-th one epoch n.
      num_hosts: Machines that share an epoch: each sample is read by one of them, and all have
        equally many batches of this size. `tf.distribute.InputContext` has them as
        `num_input_pipelines`.
      host_index: Which of them this is, from 0; `input_pipeline_id`.
      drop_remainder: Leave out samples at an epoch's end, others each time, so that all batches
        have one size.
      balance: Space groups as frequent as they are (0), all equally frequent (1) or between, see
        `pipelines.reading.order.SampleOrder`; only 'gather', only shuffled.
      class_weights: Adds sample weights; see `pipelines.labels.LabelMaker`.
      sample_ids: Adds 'sample_id' to the labels, bytes; not for `model.fit`.
      scaled: Apply `IntensityScaling()` here, for models that do not start with it.
      device: Copy batches to this device ahead of time ('/GPU:0'), and scale them there.
      reader: 'gather' (local shards, true global shuffle) or 'stream' (shuffles through a buffer).
        Both give the same elements. 'auto' takes 'stream' for URLs, 'gather' for folders.
      shuffle_block: 'gather' keeps so many samples together that lie side by side, for disks that
        hate random reads; see `SampleOrder`. 0 for a true shuffle.
      shuffle_buffer: Samples in the buffer of 'stream'; 512 MiB of them by default.
      deterministic: 'stream' waits for slow shards for the sake of an order that repeats.

    Returns:
      A dataset of (images, {target: label}), or with class weights (images, {target: label},
      {target: weight}). Images are raw intensities, float32 (batch, views, height, width), or those
      scaled. Of a data set with 16-bit patterns, unscaled, they are as they are stored, so that no
      more bytes are moved to the device than were read: a dict of 'cbed_stack', uint16 (batch,
      views, height, width), and 'pattern_max', float32 (batch, views), which `IntensityScaling`
      takes as well. With `inputs`, images are a dict too, and have each of these under its name,
      float32 (batch, size). Labels are as `pipelines.Target` says; weights float32 (batch,). Its
      cardinality is known.

    Raises:
      CbedError: No such data set, split, target or reader, an argument out of range, too few
        samples for the hosts, a shard is missing, or a URL cannot be read.
    """
    reader = _choose_reader(reader, data_dir)
    _check_reader(reader, balance, shuffle_block, shuffle_buffer)
    inputs = get_inputs(inputs, targets)
    manifest = load_manifest(data_dir)
    label_maker = LabelMaker(get_targets(targets), class_weights, manifest)
    paths = _shard_paths(data_dir, manifest, split)
    more = (SAMPLE_ID,) if sample_ids else ()
    entry, encoding = manifest.split(split), manifest.encoding
    batches = BatchPlan(entry.samples, batch_size, drop_remainder, Hosts(num_hosts, host_index))
    epochs = epochs_from(start)
    _check_start(start, batches)
    if reader == GATHER:
        beside = [field.name for field in encoding.beside]
        names = ("shard", "image_offset", "space_group", *beside, *more, *label_maker.sources)
        columns = load_index(data_dir, split, {*names, *inputs})
        labels, weights = label_maker.from_columns(columns)
        dataset = gather_dataset(
            steps_of(epochs, batches.steps),
            SampleOrder(
                entry.samples,
                batches,
                shuffle=shuffle,
                seed=seed,
                shuffle_block=shuffle_block,
                classes=columns["space_group"],
                balance=balance,
            ),
            ImageGatherer(
                paths, columns["shard"], columns["image_offset"], manifest.image_shape,
                encoding.dtype,
            ),
            {
                "images": {
                    **{name: columns[name] for name in beside},
                    **{name: TARGETS[name].encode(columns[name]) for name in inputs},
                },
                "labels": {**labels, **{name: columns[name] for name in more}},
                "weights": weights,
            },
            _READ_THREADS,
        )  # fmt: skip
    else:
        fitting = _DEFAULT_BUFFER_BYTES // encoding.image_bytes(manifest.image_shape)
        size = max(1, min(fitting, batches.samples)) if shuffle_buffer is None else shuffle_buffer
        dataset = stream_dataset(
            epochs,
            [str(path) for path in paths],
            ShardOrder(
                [shard.samples for shard in entry.shards], batches, shuffle=shuffle, seed=seed
            ),
            batches,
            StreamOptions(size, deterministic=deterministic) if shuffle else None,
            element_maker(label_maker, manifest.image_shape, encoding, more, inputs),
            read_bytes(data_dir, entry.shards),
        )
    cardinality = batches.steps if start is None else tf.data.INFINITE_CARDINALITY
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    finish = _finisher(manifest, batches, inputs, scaled, has_weights=class_weights is not None)
    return _on_device(dataset, finish, device).with_options(_options())


def _finisher(
    manifest: Manifest,
    batches: BatchPlan,
    inputs: Sequence[str],
    scaled: bool,
    has_weights: bool,
) -> Callable[[dict, dict, dict], tuple]:
    layer = IntensityScaling(dtype="float32")
    # XLA makes one pass over the patterns of it: two cores deliver 1,650 to 1,850 scaled samples/s
    # of 3 MiB, instead of 590 to 800 where every operation fills fresh memory.
    scale = tf.function(layer.call, jit_compile=True) if scaled else lambda images: images
    is_plain = not manifest.encoding.beside
    shape = (batches.static_size, *manifest.image_shape)

    def finish(images: dict[str, tf.Tensor], labels: dict, weights: dict) -> tuple:
        known = {name: images.pop(name) for name in inputs}
        images[IMAGE] = tf.ensure_shape(images[IMAGE], shape)
        images = scale(images[IMAGE] if is_plain else images)
        if known:
            images = {**(images if isinstance(images, dict) else {IMAGE: images}), **known}
        return (images, labels, weights) if has_weights else (images, labels)

    return finish


def _on_device(
    dataset: tf.data.Dataset, finish: Callable[..., tuple], device: str | None
) -> tf.data.Dataset:
    if device is None:
        return dataset.map(finish).prefetch(_PREFETCH)
    dataset = dataset.prefetch(_PREFETCH).apply(tf.data.experimental.copy_to_device(device))
    with tf.device(device):
        return dataset.map(finish).prefetch(1)


def _options() -> tf.data.Options:
    options = tf.data.Options()
    # The autotune thread can hold up an iterator's end by seconds; all parallelism is explicit.
    options.autotune.enabled = False
    options.deterministic = True
    # Hosts have their own parts already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options


def _choose_reader(reader: str, data_dir: str | os.PathLike) -> str:
    if reader == AUTO:
        return STREAM if is_url(data_dir) else GATHER
    if reader == GATHER and is_url(data_dir):
        raise CbedError(
            f"reader='gather' needs local files, and {data_dir} is a URL: copy the data set here, "
            f"or use reader='stream'"
        )
    return reader


def _check_reader(
    reader: str, balance: float, shuffle_block: int, shuffle_buffer: int | None
) -> None:
    if reader not in READERS:
        raise CbedError(f"reader is {reader!r}, should be one of {', '.join((*READERS, AUTO))}")
    if reader == STREAM and (balance or shuffle_block):
        raise CbedError("balance and shuffle_block need reader='gather', which can read any sample")
    if shuffle_buffer is not None and shuffle_buffer < 1:
        raise CbedError(f"shuffle_buffer is {shuffle_buffer}, should be at least 1")


def _check_start(start: Position | None, batches: BatchPlan) -> None:
    if start is not None and not start.step < batches.steps:
        raise CbedError(
            f"step is {start.step}, should be below the {batches.steps} batches of an epoch"
        )


def _shard_paths(data_dir: str | os.PathLike, manifest: Manifest, split: str) -> list[str]:
    if is_url(data_dir):
        return shard_urls(os.fspath(data_dir), manifest.split(split).shards)
    names = [shard.name for shard in manifest.split(split).shards]
    present = set(os.listdir(data_dir))  # one question for 100,000 shards, not one for each
    missing = [name for name in names if name not in present]
    if missing:
        raise CbedError(
            f"{len(missing)} shard(s) of the data set are missing: {Path(data_dir) / missing[0]}"
        )
    return [os.path.join(data_dir, name) for name in names]
