"""keras PyDataset over h5py, with worker processes, driven by what `fit` drives it with."""

import keras
import numpy as np
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter


class PatternDataset(keras.utils.PyDataset):
    """Without an end: at the end of an epoch Keras ends all workers and starts others."""

    def __init__(self, samples, batch_size, scaled, **kwargs):
        super().__init__(**kwargs)
        self.samples = samples
        self.batch_size = batch_size
        self.scaled = scaled

    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        epoch, batch = divmod(index, len(self.samples) // self.batch_size)
        order = np.random.default_rng(epoch).permutation(len(self.samples))
        numbers = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        images, space_groups = zip(
            *(self.samples.read(number, self.scaled) for number in numbers), strict=True
        )
        return np.stack(images), np.array(space_groups)


def batches(samples, folder, batch_size, scaled, workers):
    dataset = PatternDataset(samples, batch_size, scaled, workers=workers, use_multiprocessing=True)
    return iter(PyDatasetAdapter(dataset).get_tf_dataset())
