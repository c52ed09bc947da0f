"""How often a training sees each class, and what makes up for it inside a loss."""

import numpy as np

from cbed_tf.dataset.manifest import Manifest
from pipelines.labels import count_classes
from pipelines.targets import TARGETS, Target, space_groups_of_class


def logit_adjustment(counts: np.ndarray, strength: float) -> np.ndarray:
    """Returns what training adds to the logarithms of class probabilities, float32 (classes,).

    The logarithm of how often a class is seen, times `strength`: the network learns the rest, that
    is, how well a class explains the patterns, and answers it where nothing is added (Menon et al.,
    'Long-tail learning via logit adjustment', ICLR 2021). A class that is never seen gets as much
    as the most frequent one, so that it goes on being learned as wrong: its own logarithm, minus
    infinity, would excuse it from that.

    Args:
      counts: How often each class is seen, (classes,), at least one above 0.
      strength: 1 makes up for frequency, 0 adds nothing.
    """
    shares = np.where(counts > 0, counts, counts.max()) / counts.sum()
    return (strength * np.log(shares)).astype(np.float32)


def seen_counts(target: Target, manifest: Manifest, balance: float = 0.0) -> np.ndarray:
    """Returns how often an epoch shows each class of a target, up to a factor, (classes,).

    Args:
      target: With classes.
      manifest: Of the training data.
      balance: With which the space groups are drawn; see `pipelines.reading.order.SampleOrder`.
    """
    counts = count_classes(TARGETS["space_group"], manifest)
    counts[counts > 0] **= 1 - balance
    return np.bincount(
        space_groups_of_class(target.key), weights=counts, minlength=len(target.class_names)
    )
