"""Encoders of keras.applications, for patterns of any number of channels.

They start from random weights, or from ImageNet's in a local file. Their own preprocessing, of
photographs in 0..255, is left out: patterns come as fourth roots of about 0 to 1.
"""

import dataclasses
import os
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from cbed_tf.errors import CbedError

_SMALLEST = 32
_COLORS = 3


@dataclasses.dataclass(frozen=True)
class Application:
    """An architecture of keras.applications as an encoder.

    Attributes:
      name: For errors, as users ask for it.
      architecture: Takes the arguments that all of keras.applications take.
      scale: With `offset`, what brings 0..1 to what the ImageNet weights were trained on: 0..1 *
        scale + offset. Without these weights nothing is scaled.
      offset: Likewise.
    """

    name: str
    architecture: Callable[..., keras.Model]
    scale: float
    offset: float

    def __call__(self, height: int, width: int, channels: int) -> keras.Model:
        """Returns the encoder with random weights.

        Raises:
          CbedError: The patterns are smaller than the architecture takes.
        """
        if min(height, width) < _SMALLEST:
            raise CbedError(
                f"{self.name} takes patterns of at least {_SMALLEST}x{_SMALLEST} pixels, "
                f"not {height}x{width}"
            )
        return self.architecture(
            include_top=False, weights=None, input_shape=(height, width, channels), pooling="avg"
        )

    def pretrained(
        self, height: int, width: int, channels: int, path: str | os.PathLike
    ) -> keras.Model:
        """Returns the encoder with weights from a file.

        The first convolution's weights are summed over red, green and blue, and the sum is divided
        among the channels: as if each pattern were a grey photograph. Three channels keep them.

        Args:
          height: Of a pattern.
          width: Likewise.
          channels: Likewise.
          path: '.h5', '.weights.h5' or '.keras', without the classifier ('notop').

        Raises:
          CbedError: The file cannot be read, or holds no weights of this architecture.
        """
        core = self(height, width, channels)
        photographs = self(height, width, _COLORS) if channels != _COLORS else core
        found = _read_weights(photographs, path, self.name)
        core.set_weights(
            [_fit(weight, own.shape) for weight, own in zip(found, core.weights, strict=True)]
        )
        patterns = keras.Input((height, width, channels), name="patterns")
        scaled = layers.Rescaling(self.scale, self.offset, name="as_photographs")(patterns)
        return keras.Model(patterns, core(scaled), name=f"{core.name}_pretrained")


def _read_weights(model: keras.Model, path: str | os.PathLike, name: str) -> list[np.ndarray]:
    """Returns the weights in a file, in the order and the shapes of a model's."""
    if not os.path.isfile(path):
        raise CbedError(f"there is no file {path} with pretrained weights")
    refusal = f"{path} holds no weights of {name} without its classifier ('notop')"
    random = model.get_weights()
    try:
        if str(path).endswith(".keras"):
            found = keras.models.load_model(path, compile=False).get_weights()
        else:
            model.load_weights(path)
            found = model.get_weights()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CbedError(f"{refusal}: {error}") from error
    if [x.shape for x in found] != [x.shape for x in random]:
        raise CbedError(
            f"{refusal}: {len(found)} arrays where there should be {len(random)}, or of other "
            f"shapes"
        )
    # Some releases of keras pass over what they do not find.
    left = sum(x.ndim > 1 and np.array_equal(x, y) for x, y in zip(found, random, strict=True))
    if left:
        raise CbedError(f"{refusal}: {left} arrays are not in it")
    return found


def _fit(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if weight.shape == tuple(shape):
        return weight
    channels = shape[2]
    return np.repeat(weight.sum(axis=2, keepdims=True) / channels, channels, axis=2)
