"""What follows from class probabilities: ranks, coarser classes, a joint answer of several samples.

Plain numpy, for whatever the model has answered; shared by evaluation, prediction and calibration.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.targets import Target, space_groups_of_class

SPACE_GROUP = "space_group"
# What a space group belongs to, so that its probabilities imply theirs.
COARSER = ("crystal_system", "point_group")
# A probability of 0 in float32 is one below this: its logarithm is taken for the true one.
TINY = float(np.finfo(np.float32).tiny)
# A logarithm whose exp is 0 in float32, and with which sums stay finite.
LOG_OF_NOTHING = -1e9


def top_classes(probabilities: np.ndarray, k: int) -> np.ndarray:
    """Returns the indices of the k most probable classes, most probable first, (samples, k).

    Of equally probable classes the first count as more probable.
    """
    return np.argsort(-probabilities, axis=-1, kind="stable")[:, :k]


def pool_classes(probabilities: np.ndarray, class_of: Sequence[int], size: int) -> np.ndarray:
    """Adds up the probabilities of classes that belong together.

    Args:
      probabilities: (samples, classes).
      class_of: The larger class of each class.
      size: Number of larger classes.

    Returns:
      (samples, size).
    """
    pooled = np.zeros((len(probabilities), size), probabilities.dtype)
    np.add.at(pooled, (slice(None), np.asarray(class_of)), probabilities)
    return pooled


def coarsen(target: Target, space_group_probabilities: np.ndarray) -> np.ndarray:
    """Returns the probabilities of crystal systems or point groups that space groups' imply."""
    return pool_classes(
        space_group_probabilities, space_groups_of_class(target.key), len(target.class_names)
    )


def coarse_labels(target: Target, space_group_labels: np.ndarray) -> np.ndarray:
    """Returns the crystal systems or point groups, as labels, of space-group labels."""
    return space_groups_of_class(target.key)[space_group_labels]


def joint_probabilities(probabilities: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns one answer for each group of samples that show the same crystal.

    It is the mean of their log-probabilities, normalised. Each sample is evidence of its own, and
    evidence adds up in logarithms: a class that one sample all but excludes is out, as it should
    be. The mean, not the sum, since the samples of a crystal err alike. And a temperature changes
    no joint answer's ranks, whether it is applied before or after.

    Args:
      probabilities: (samples, classes).
      groups: Of each sample, 0 to the number of groups - 1, none of them empty.

    Returns:
      (groups, classes).
    """
    logs = np.log(np.maximum(probabilities.astype(np.float64), TINY))
    means = group_means(logs, groups)
    joint = np.exp(means - means.max(axis=1, keepdims=True))
    return (joint / joint.sum(axis=1, keepdims=True)).astype(probabilities.dtype)


def group_means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns the mean of each group's rows.

    Args:
      values: (samples, size).
      groups: Of each sample, 0 to the number of groups - 1, none of them empty.

    Returns:
      float64 (groups, size).
    """
    counts = np.bincount(groups)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, groups, values)
    return sums / counts[:, None]
