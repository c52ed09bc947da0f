"""The layer that makes raw intensities learnable: first in every model, or in a tf.data graph.

Intensities of one pattern span twenty orders of magnitude; the fourth root brings them within
two. It is a layer, not preprocessing, so that it runs on the device, travels with the saved model,
and nobody can apply it twice.
"""

import math
from typing import Any

import keras
from keras import ops

from cbed_tf.dataset.encoding import LARGEST_CODE
from cbed_tf.schema import IMAGE, PATTERN_MAX

POWER = "power"
LOG = "log"
NONE = "none"
METHODS = (POWER, LOG, NONE)
# ORNL's reference training clipped the logarithm here.
DEFAULT_FLOOR = math.exp(-17)
_ROOT = 0.25


@keras.saving.register_keras_serializable("cbed_tf")
class IntensityScaling(keras.layers.Layer):
    """Scales raw intensities of any shape, in float32 whatever the precision policy.

    Takes 16-bit patterns too, as `load_dataset` yields them: a dict of 'cbed_stack', codes (...,
    views, height, width), and 'pattern_max', (..., views). A code is a fourth root already, so the
    usual scaling is one multiplication, and the bytes moved to the device are half as many. What
    else there is beside patterns (known inputs) is left out.

    Not-a-number and negative intensities become 0. The answer has the policy's compute dtype:
    float16 would turn an intensity of 1e-8 into 0, its fourth root 0.01 is safe.

    Args:
      method: 'power' (x ** exponent), 'log' (ln(x / floor), 0 at and below the floor) or 'none'.
      exponent: Of 'power'; above 0.
      floor: Of 'log'; above 0. Patterns are round-off, never exactly 0, outside the band limit.
    """

    def __init__(
        self,
        method: str = POWER,
        exponent: float = _ROOT,
        floor: float = DEFAULT_FLOOR,
        **kwargs: Any,
    ):
        if method not in METHODS:
            raise ValueError(f"method is {method!r}, should be one of {', '.join(METHODS)}")
        if not exponent > 0:
            raise ValueError(f"exponent is {exponent}, should be above 0")
        if not floor > 0:
            raise ValueError(f"floor is {floor}, should be above 0")
        # Without autocast=False a float16 policy would cast the raw intensities before call().
        super().__init__(autocast=False, **kwargs)
        self.method = method
        self.exponent = exponent
        self.floor = floor

    def call(self, intensities: Any) -> Any:
        """Returns the scaled intensities, in the shape of the patterns."""
        if isinstance(intensities, dict) and PATTERN_MAX.name not in intensities:
            intensities = intensities[IMAGE]
        if not isinstance(intensities, dict):
            x = self._scale(positive(intensities))
        elif self.method == POWER and self.exponent == _ROOT:
            x = _decode_roots(intensities)
        else:
            x = self._scale(ops.square(ops.square(_decode_roots(intensities))))
        return ops.cast(x, self.compute_dtype)

    def _scale(self, x: Any) -> Any:
        if self.method == LOG:
            return ops.log(ops.maximum(x, self.floor) / self.floor)
        return self._power(x) if self.method == POWER else x

    def _power(self, x: Any) -> Any:
        # On two CPU cores tf.pow costs 2 to 5 times as much as two square roots.
        if self.exponent == _ROOT:
            return ops.sqrt(ops.sqrt(x))
        if self.exponent == 0.5:
            return ops.sqrt(x)
        return ops.power(x, self.exponent)

    def compute_output_shape(self, input_shape: tuple | dict[str, tuple]) -> tuple:
        """Returns the patterns' shape."""
        return input_shape[IMAGE] if isinstance(input_shape, dict) else input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {
            **super().get_config(),
            "method": self.method,
            "exponent": self.exponent,
            "floor": self.floor,
        }


def positive(x: Any) -> Any:
    """Returns intensities as float32, with 0 for what is no positive number."""
    x = ops.cast(x, "float32")
    return ops.where(x > 0, x, ops.zeros_like(x))  # a comparison with NaN is false


def _decode_roots(encoded: dict[str, Any]) -> Any:
    """Returns fourth roots of the intensities; `encode_stack` is the way there."""
    largest = ops.sqrt(ops.sqrt(positive(encoded[PATTERN_MAX.name])))
    return ops.cast(encoded[IMAGE], "float32") * (largest / LARGEST_CODE)[..., None, None]
