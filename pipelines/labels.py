"""Turns record fields into what a loss sees: labels, and the weights that go with them.

One `LabelMaker` serves both readers, on numpy columns of the index and on tensors of a parsed
batch, so that they cannot disagree.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from cbed_tf.dataset.manifest import Manifest
from cbed_tf.errors import CbedError
from pipelines.targets import CLASSES, Target

BALANCED = "balanced"
ClassWeights = Mapping[str, str | Sequence[float]]


class LabelMaker:
    """Makes labels and weights for chosen targets.

    Args:
      targets: What to predict.
      class_weights: Target key -> a weight for each of its classes, or 'balanced'; None for no
        weights at all. Keras refuses `class_weight` for several outputs, so they come as sample
        weights; targets that are not named weigh 1.
      manifest: Where 'balanced' counts the classes, over train.

    Raises:
      CbedError: A weight is given for what is no chosen class target, or of a wrong length.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        class_weights: ClassWeights | None,
        manifest: Manifest,
    ):
        self.targets = tuple(targets)
        self.sources = tuple(dict.fromkeys(target.source for target in targets))
        self.weight_tables: dict[str, np.ndarray] | None = None
        if class_weights is not None:
            self.weight_tables = _weight_tables(self.targets, class_weights, manifest)

    def from_columns(
        self, columns: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Returns labels and weights (empty without class weights) of index columns."""
        labels = {target.key: target.encode(columns[target.source]) for target in self.targets}
        weights = {}
        if self.weight_tables is not None:
            for key, label in labels.items():
                table = self.weight_tables.get(key)
                ones = np.ones(len(label), np.float32)
                weights[key] = ones if table is None else table[np.maximum(label, 0)]
        return labels, weights

    def from_tensors(
        self, columns: Mapping[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Returns the same of a parsed batch, inside a tf.data graph."""
        labels = {
            target.key: target.encode_tensor(columns[target.source]) for target in self.targets
        }
        weights = {}
        if self.weight_tables is not None:
            for key, label in labels.items():
                table = self.weight_tables.get(key)
                ones = tf.ones(tf.shape(label)[:1])
                # An absent label weighs anything: no loss counts it.
                weights[key] = ones if table is None else tf.gather(table, tf.maximum(label, 0))
        return labels, weights


def balanced_weights(target: Target, manifest: Manifest) -> np.ndarray:
    """Returns a weight for each class so that all classes of train count alike, 1 on average.

    A class that does not occur in train weighs 1.
    """
    counts = count_classes(target, manifest)
    present = counts > 0
    weights = np.ones(len(counts), np.float32)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def count_classes(target: Target, manifest: Manifest) -> np.ndarray:
    """Returns how many samples of train each class of a target has, float64 (classes,)."""
    of_space_group = manifest.split("train").space_groups
    labels = target.encode(np.array(list(of_space_group), np.int64))
    samples = np.array(list(of_space_group.values()), np.float64)
    known = labels >= 0
    return np.bincount(labels[known], samples[known], minlength=len(target.class_names))


def _weight_tables(
    targets: Sequence[Target], class_weights: ClassWeights, manifest: Manifest
) -> dict[str, np.ndarray]:
    by_key = {target.key: target for target in targets if target.kind == CLASSES}
    tables = {}
    for key, weights in class_weights.items():
        if key not in by_key:
            raise CbedError(f"class_weights name {key!r}, should be one of {list(by_key)}")
        if isinstance(weights, str):
            if weights != BALANCED:
                raise CbedError(f"class_weights of {key} are {weights!r}, should be {BALANCED!r}")
            tables[key] = balanced_weights(by_key[key], manifest)
        else:
            tables[key] = np.asarray(weights, np.float32)
        if tables[key].shape != (len(by_key[key].class_names),):
            raise CbedError(
                f"class_weights of {key} have shape {tables[key].shape}, should be one for each of "
                f"{len(by_key[key].class_names)} classes"
            )
    return tables
