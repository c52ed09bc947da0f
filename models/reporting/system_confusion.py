"""Which crystal systems a model takes for which, counted batch by batch."""

from collections.abc import Mapping

import tensorflow as tf

from pipelines.targets import TARGETS, space_groups_of_class

_SYSTEM = "crystal_system"
_SPACE_GROUP = "space_group"
SYSTEM_NAMES = TARGETS[_SYSTEM].class_names


def count_systems(
    labels: Mapping[str, tf.Tensor], answers: Mapping[str, tf.Tensor]
) -> tf.Tensor | None:
    """Returns how often samples of each crystal system (row) were taken for each (column).

    Args:
      labels: By target key, class indices, negative where there is none.
      answers: By target key, probabilities.

    Returns:
      int32, (7, 7), read off the space groups if only these are answered; None if neither is.
    """
    size = len(SYSTEM_NAMES)
    if _SYSTEM in answers:
        true, probabilities = labels[_SYSTEM], answers[_SYSTEM]
    elif _SPACE_GROUP in answers:
        system_of = tf.constant(space_groups_of_class(_SYSTEM), tf.int32)
        space_groups = labels[_SPACE_GROUP]
        true = tf.where(space_groups < 0, -1, tf.gather(system_of, tf.maximum(space_groups, 0)))
        probabilities = answers[_SPACE_GROUP] @ tf.one_hot(system_of, size)
    else:
        return None
    predicted, known = tf.argmax(probabilities, axis=1), tf.cast(true >= 0, tf.int32)
    return tf.math.confusion_matrix(tf.maximum(true, 0), predicted, size, weights=known)
