"""tf.data.Dataset.from_generator over h5py."""

import numpy as np
import tensorflow as tf


def batches(samples, folder, batch_size, scaled, workers):
    random = np.random.default_rng(0)

    def generate():
        while True:
            for number in random.permutation(len(samples)):
                yield samples.read(number)

    signature = (
        tf.TensorSpec(samples.image_shape, tf.float32),
        tf.TensorSpec((), tf.int64),
    )
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    if scaled:
        dataset = dataset.map(
            lambda image, label: (tf.sqrt(tf.sqrt(image)), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    return iter(dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE))
