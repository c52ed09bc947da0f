"""The usual tf.data recipe on our own shards: AUTOTUNE everywhere, parse, decode, map, batch."""

import tensorflow as tf
from benchmarks.peers.samples import IMAGE, LABEL


def batches(samples, folder, batch_size, scaled, workers, power=False):
    """Yields batches; scales them with tf.pow, as users write it, or with two square roots."""
    spec = {
        IMAGE: tf.io.FixedLenFeature((), tf.string),
        LABEL: tf.io.FixedLenFeature((), tf.int64),
    }

    def parse(serialized):
        example = tf.io.parse_single_example(serialized, spec)
        image = tf.reshape(tf.io.decode_raw(example[IMAGE], tf.float32), samples.image_shape)
        if scaled:
            image = tf.pow(image, 0.25) if power else tf.sqrt(tf.sqrt(image))
        return image, example[LABEL]

    files = tf.data.Dataset.list_files(str(folder / "train-*.tfrecord"), shuffle=True)
    dataset = tf.data.TFRecordDataset(files, num_parallel_reads=tf.data.AUTOTUNE)
    dataset = dataset.shuffle(samples.shuffle_buffer).repeat()
    dataset = dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return iter(dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE))
