"""The data of a training: batches from any position on, for the devices of this machine."""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from cbed_tf.dataset.manifest import Manifest
from cbed_tf.errors import CbedError
from models.learning.options import TrainingOptions
from models.training.steps import Feed
from pipelines import Position, get_targets, load_dataset
from pipelines.reading.order import BatchPlan, Hosts
from pipelines.targets import CLASSES

TRAIN = "train"
DEV = "dev"


class TrainingData:
    """The splits train and dev of a data set, cut into batches as the options say.

    Every device reads for itself, and all of them together see the same samples in a step, however
    many they are.

    Args:
      data_dir: Folder or URL.
      manifest: Of the data set.
      options: Of the training.
      strategy: Of the devices.
      replicas: Numbers, among all devices, of those of this machine.

    Attributes:
      samples: In train.
      steps: Of an epoch.
      has_dev: Whether there is a split to judge by.
      judged_by: Name of the mean that tells a better epoch from a worse one.
      element_spec: Of a device's batch.

    Raises:
      CbedError: There is nothing to train on, or the batch size does not fit the devices.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike,
        manifest: Manifest,
        options: TrainingOptions,
        strategy: tf.distribute.Strategy,
        replicas: Sequence[int] = (0,),
    ):
        self._data_dir = data_dir
        self._manifest = manifest
        self._options = options
        self._strategy = strategy
        self._replicas = replicas
        self._devices = strategy.num_replicas_in_sync
        self._batch_size = _batch_of_device(options.batch_size, self._devices)
        self.samples = manifest.split(TRAIN).samples
        self.has_dev = DEV in manifest.splits
        self.judged_by = "val_loss" if self.has_dev else "loss"
        self.steps = self._count_steps(TRAIN)
        if self.has_dev:
            self._count_steps(DEV)
        self._dev = [self._load(DEV, replica) for replica in replicas] if self.has_dev else []
        self.element_spec = self._load(TRAIN, replicas[0]).element_spec

    def train(self, start: Position) -> Feed:
        """Returns batches to learn from, from a position on and without end."""
        datasets = [self._load(TRAIN, replica, start=start) for replica in self._replicas]
        return Feed(datasets, self._strategy)

    def dev(self) -> Feed:
        """Returns the batches to judge by, once."""
        return Feed(self._dev, self._strategy)

    def sample_ids(self, position: Position) -> list[str]:
        """Returns which samples a step learns from, on all devices."""
        ids = []
        for replica in range(self._devices):
            batches = self._load(TRAIN, replica, start=position, sample_ids=True)
            labels = next(iter(batches))[1]
            ids += [name.decode() for name in labels["sample_id"].numpy()]
        return ids

    def samples_before(self, step: int) -> int:
        """Returns how many samples of an epoch come before a step."""
        return min(step * self._options.batch_size, self.samples)

    def fingerprint(self) -> str:
        """Returns what tells these data from others: a hash of the shards' checksums."""
        splits = self._manifest.splits
        checksums = {name: [s.crc32c for s in splits[name].shards] for name in sorted(splits)}
        return hashlib.sha256(json.dumps(checksums).encode()).hexdigest()[:16]

    def _count_steps(self, split: str) -> int:
        samples = self._manifest.split(split).samples
        # On every machine for all, so that none waits for another one that has refused.
        hosts = [Hosts(self._devices, replica) for replica in range(self._devices)]
        try:
            plans = [BatchPlan(samples, self._batch_size, hosts=host) for host in hosts]
        except CbedError as error:
            raise CbedError(
                f"batch_size is {self._options.batch_size}: of the {samples} samples of {split}, "
                f"the last batch has fewer than the {self._devices} devices; choose another one"
            ) from error
        return plans[0].steps

    def _load(self, split: str, replica: int, **more: Any) -> tf.data.Dataset:
        options, training = self._options, split == TRAIN
        return load_dataset(
            self._data_dir,
            split,
            self._batch_size,
            targets=options.targets,
            inputs=options.inputs,
            shuffle=training,
            seed=options.seed,
            num_hosts=self._devices,
            host_index=replica,
            reader=options.reader,
            balance=options.balance if training else 0.0,
            shuffle_block=options.shuffle_block if training else 0,
            class_weights=_class_weights(options) if training else None,
            **more,
        )


def _batch_of_device(batch_size: int, devices: int) -> int:
    if batch_size % devices:
        raise CbedError(
            f"batch_size is {batch_size}, should be a multiple of the {devices} devices"
        )
    return batch_size // devices


def _class_weights(options: TrainingOptions) -> dict[str, str] | None:
    if options.class_weights == "none":
        return None
    targets = get_targets(options.targets)
    return {t.key: options.class_weights for t in targets if t.kind == CLASSES}
