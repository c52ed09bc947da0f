"""tensorflow-datasets: a builder of one's own, read as its performance guide says."""

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from benchmarks.peers.samples import IMAGE, LABEL, SPLIT, fourth_root


class CbedPatterns(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, samples, **kwargs):
        self.samples = samples
        super().__init__(**kwargs)

    def _info(self):
        # Without an encoding, floats become lists of numbers, many times slower.
        image = tfds.features.Tensor(
            shape=self.samples.image_shape,
            dtype=np.float32,
            encoding=tfds.features.Encoding.BYTES,
        )
        features = tfds.features.FeaturesDict({IMAGE: image, LABEL: np.int64})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self):
        for number in range(len(self.samples)):
            stack, space_group = self.samples.read(number)
            yield number, {IMAGE: stack, LABEL: space_group}


def build(samples, folder, file_format="tfrecord"):
    CbedPatterns(samples, data_dir=folder, file_format=file_format).download_and_prepare()


def batches(samples, folder, batch_size, scaled, workers):
    # Small data sets would be kept in memory as they are, which is no reading.
    config = tfds.ReadConfig(try_autocache=False)
    dataset = open_builder(folder).as_dataset(SPLIT, shuffle_files=True, read_config=config)

    def finish(example):
        image = example[IMAGE]
        return (tf.sqrt(tf.sqrt(image)) if scaled else image), example[LABEL]

    dataset = dataset.shuffle(samples.shuffle_buffer).repeat()
    dataset = dataset.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    return iter(dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE))


def loader_batches(samples, folder, batch_size, scaled, workers):
    """Yields batches of ArrayRecord files by a torch DataLoader: tf.data does not read them."""
    from benchmarks.peers.torch_h5py import load

    source = SourceDataset(open_builder(folder).as_data_source(SPLIT), scaled)
    return load(source, batch_size, workers)


class SourceDataset:
    def __init__(self, source, scaled):
        self.source = source
        self.scaled = scaled

    def __len__(self):
        return len(self.source)

    def __getitem__(self, number):
        example = self.source[number]
        image = example[IMAGE]
        return (fourth_root(image) if self.scaled else image), example[LABEL]


def open_builder(folder):
    (version,) = folder.glob("*/1.0.0")
    return tfds.builder_from_directory(version)
