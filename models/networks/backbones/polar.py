"""The encoder `polar`: convolutions about the beam, then what in their maps no rotation changes."""

import keras
from keras import layers

from models.networks.polar import AngularSpectrum, CircularPadding, PolarSampling

# Far out, half of them would miss what is between (dev top-1 79 % instead of 77 %, one run each).
_ANGLES = 128
_ORDERS = 13
_STEM_WIDTH = 16
_BLOCKS = 3
_SPECTRUM_WIDTH = 64
_FEATURES = 256
_DROPOUT = 0.3
_CHANNELS_PER_GROUP = 8
# The scaled intensities of a weak pattern vary by a few hundredths: keras's 1e-3 would drown them.
_EPSILON = 1e-6


def polar(height: int, width: int, channels: int) -> keras.Model:
    """A residual network of 1.3 million weights that knows rotations and symmetries.

    The maps keep the radius, which is what cell and energy show in, and lose the direction, of
    which only the symmetry counts.
    """
    patterns = keras.Input((height, width, channels), name="patterns")
    x = PolarSampling(angles=_ANGLES, name="polar")(patterns)
    x = _convolve(x, _STEM_WIDTH, "stem", kernel_size=5, strides=(1, 2))
    x = layers.Activation("relu", name="stem_relu")(x)
    for block in range(_BLOCKS):
        wide = _STEM_WIDTH * 2**block
        # Every second block alone halves the angles: 32 of them still tell sixfold from twelvefold.
        x = _residual_block(x, wide, (2, 1 + block % 2), f"block{block + 1}")
    x = AngularSpectrum(_ORDERS, name="spectrum")(x)
    x = layers.Conv2D(_SPECTRUM_WIDTH, 1, activation="relu", name="spectrum_mixed")(x)
    x = layers.Flatten(name="ring_and_order")(x)
    x = layers.Dropout(_DROPOUT, name="dropped")(x)
    features = layers.Dense(_FEATURES, activation="relu", name="features")(x)
    return keras.Model(patterns, features, name="polar")


def _residual_block(
    x: keras.KerasTensor, wide: int, strides: tuple[int, int], name: str
) -> keras.KerasTensor:
    """Two convolutions beside a shortcut, over (rings, angles)."""
    shortcut = layers.AveragePooling2D(strides, padding="same", name=f"{name}_shrink")(x)
    shortcut = layers.Conv2D(wide, 1, use_bias=False, name=f"{name}_shortcut")(shortcut)
    x = _convolve(x, wide, f"{name}_first", strides=strides)
    x = layers.Activation("relu", name=f"{name}_first_relu")(x)
    x = layers.Add(name=f"{name}_sum")([_convolve(x, wide, f"{name}_second"), shortcut])
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _convolve(
    x: keras.KerasTensor,
    wide: int,
    name: str,
    kernel_size: int = 3,
    strides: tuple[int, int] = (1, 1),
) -> keras.KerasTensor:
    x = CircularPadding(kernel_size // 2, name=f"{name}_padding")(x)
    convolution = layers.Conv2D(
        wide,
        kernel_size,
        strides,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_convolution",
    )
    groups = wide // _CHANNELS_PER_GROUP
    norm = layers.GroupNormalization(groups, epsilon=_EPSILON, name=f"{name}_normalization")
    return norm(convolution(x))
