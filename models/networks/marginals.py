"""Crystal systems and point groups as sums of space-group probabilities.

A model that answers space groups thereby says how probable each crystal system is. Taking it at its
word keeps the answers consistent, where heads of their own would contradict each other.
"""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from models.networks.probabilities import COARSER, LOG_OF_NOTHING, SPACE_GROUP
from pipelines.targets import TARGETS, space_groups_of_class


def is_marginal(key: str, keys: Iterable[str]) -> bool:
    """Says whether a target follows from the space groups, when all these are targets."""
    return key in COARSER and SPACE_GROUP in keys


def coarser_logarithms(logarithms: Any, key: str) -> Any:
    """Returns the logarithms of summed probabilities.

    Args:
      logarithms: Of space-group probabilities, (batch, 230).
      key: 'crystal_system' or 'point_group', of which the classes are, (batch, classes).
    """
    members = np.arange(len(TARGETS[key].class_names))[:, None] == space_groups_of_class(key)
    # Not a product of probabilities with zeros and ones: it would be 0, with no way back, where all
    # members are improbable, and GPUs with TensorFloat-32 would round it to ten bits.
    hidden = np.where(members, np.float32(0), np.float32(LOG_OF_NOTHING))
    return ops.logsumexp(logarithms[:, None, :] + hidden, axis=-1)


@keras.saving.register_keras_serializable("cbed_tf")
class CoarserClasses(layers.Layer):
    """Logarithms of space-group probabilities in, those of coarser classes out.

    Args:
      key: 'crystal_system' or 'point_group'.
    """

    def __init__(self, key: str, **kwargs: Any):
        if key not in COARSER:
            raise ValueError(f"key is {key!r}, should be one of {', '.join(COARSER)}")
        super().__init__(**kwargs)
        self.key = key

    def call(self, logarithms: Any) -> Any:
        """Returns (batch, classes)."""
        return coarser_logarithms(logarithms, self.key)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the shape of the coarser classes."""
        return (*input_shape[:-1], len(TARGETS[self.key].class_names))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "key": self.key}
