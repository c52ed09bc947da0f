"""Which augmentations, and how strong: the options, and the layer that applies them all.

The augmentations themselves are in `augment_geometry`, `augment_intensity` and `augment_samples`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from cbed_tf.errors import CbedError
from pipelines.augmentation.geometry import RandomAffine
from pipelines.augmentation.intensity import LARGEST_DOSE, PoissonNoise, RandomErasing
from pipelines.augmentation.layer import AugmentLayer, Labels, child_seed
from pipelines.augmentation.samples import MixUp, PermuteViews
from pipelines.scaling import NONE, IntensityScaling

USUAL = "usual"
_DATASET_SEEDS = 2**31 - 1
# What works on fourth roots, and what on intensities; the places give each its own chance.
_OF_ROOTS = (PermuteViews, RandomAffine, MixUp)
_OF_COUNTS = (PoissonNoise, RandomErasing)


def _strength(usual: float, most: float) -> Any:
    return dataclasses.field(default=0.0, metadata={"usual": usual, "most": most})


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Strengths of the augmentations; 0 leaves one out, and all are 0 unless given.

    Attributes:
      rotation: Greatest angle in degrees, either way, of each view.
      mirror: Probability that all views of a sample are mirrored.
      shift: Greatest shift of the beam's centre, as a share of the pattern's smaller side.
      ellipticity: Greatest elliptical distortion, as a share of the pattern's extent.
      magnification: Greatest share by which patterns are larger or smaller, lengths among the
        labels with them.
      permutation: Probability that the views of a sample change places.
      noise: Electrons in a pattern; fewer are noisier.
      erasing: Greatest share of a pattern's area that is erased.
      mixup: Greatest share of another sample.

    Raises:
      CbedError: A strength is out of range; says which, and the range.
    """

    rotation: float = _strength(180.0, 180)
    mirror: float = _strength(0.5, 1)
    shift: float = _strength(0.02, 0.5)
    ellipticity: float = _strength(0.01, 0.5)
    magnification: float = _strength(0.2, 1)
    permutation: float = _strength(1.0, 1)
    noise: float = _strength(1e6, LARGEST_DOSE)
    erasing: float = _strength(0.1, 0.5)
    mixup: float = _strength(0.5, 0.5)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, most = getattr(self, field.name), field.metadata["most"]
            if not 0 <= value <= most:  # refuses not-a-number too
                raise CbedError(f"augment: {field.name} is {value}, should be from 0 to {most:g}")

    def __bool__(self) -> bool:
        return any(dataclasses.astuple(self))

    @classmethod
    def parse(cls, words: Sequence[str]) -> "Augmentation":
        """Reads words like 'rotation' (at its usual strength) or 'noise:1e5'.

        'usual' is all of them but mixup, after which labels are mixtures too.

        Raises:
          CbedError: A name is unknown, or a strength is no number or out of range.
        """
        strengths: dict[str, float] = {}
        for word in words:
            name, colon, number = word.partition(":")
            if name == USUAL and not colon:
                strengths.update({n: s for n, s in _USUAL.items() if n != "mixup"})
            elif name not in _USUAL:
                raise CbedError(
                    f"augment has {word!r}, should be some of {', '.join((USUAL, *_USUAL))}"
                )
            else:
                strengths[name] = _number(word, number) if colon else _USUAL[name]
        return cls(**strengths)

    def strengths(self) -> dict[str, float]:
        """Returns the strengths that are not 0, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}


_USUAL = {field.name: field.metadata["usual"] for field in dataclasses.fields(Augmentation)}


@keras.saving.register_keras_serializable("cbed_tf")
class Augment(AugmentLayer):
    """Applies all augmentations of some options, in the order of the microscope.

    Takes the images that `load_dataset` yields unscaled, raw intensities or 16-bit patterns, and
    returns raw intensities, float32 whatever the policy: whatever comes next, takes these. Views
    are reordered, moved and mixed as fourth roots, and the detector comes last: electrons are
    counted, then pixels erased.

    It stands first in a network, acting in `fit` alone; or it changes whole batches, with labels,
    in a data set (`augment_dataset`), or on the device (`models.AugmentedModel`). Mirror,
    magnification, mixup and permutation are right only with labels.

    Args:
      augmentation: What to apply.
      seed: The same seed repeats the same changes. One augmentation more changes nothing about the
        chance of the others.
    """

    def __init__(
        self,
        augmentation: Augmentation | dict[str, float],
        seed: int | None = None,
        **kwargs: Any,
    ):
        kwargs.setdefault("dtype", "float32")
        super().__init__(seed, **kwargs)
        if isinstance(augmentation, dict):
            augmentation = Augmentation(**augmentation)
        self.augmentation = augmentation
        self.intensities = IntensityScaling(NONE, dtype="float32", name="intensities")
        self.roots = IntensityScaling(dtype="float32", name="fourth_roots")
        layers = _layers_of(augmentation)
        self.of_roots = [layer for layer in layers if type(layer) in _OF_ROOTS]
        self.of_counts = [layer for layer in layers if type(layer) in _OF_COUNTS]

    def change(
        self, images: Any, labels: Labels, weights: Labels, seed: Any
    ) -> tuple[Any, Labels, Labels]:
        """Applies what is on."""
        if self.of_roots:
            parts = _apply(self.of_roots, (self.roots(images), labels, weights), seed)
            parts = (ops.square(ops.square(parts[0])), *parts[1:])
        else:
            parts = self.intensities(images), labels, weights
        return _apply(self.of_counts, parts, seed)

    def prepared(self, images: Any) -> Any:
        """Returns the images as they come; their form decides how they are decoded."""
        return images

    def unchanged(self, images: Any) -> Any:
        """Returns raw intensities of 16-bit patterns, and raw intensities as they are."""
        return self.intensities(images) if isinstance(images, dict) else images

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the patterns' shape."""
        return self.intensities.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "augmentation": dataclasses.asdict(self.augmentation)}


def augment_dataset(
    dataset: tf.data.Dataset, augmentation: Augmentation, seed: int = 0
) -> tf.data.Dataset:
    """Augments batches of `load_dataset` inside the tf.data graph, on the CPU, with their labels.

    Each iteration draws anew; the same seed repeats the same iterations. After mixup, labels of
    classes are probabilities, (batch, classes).

    Args:
      dataset: Yields (images, labels) or (images, labels, weights), unscaled.
      augmentation: What to apply.
      seed: Of all changes.
    """
    augment = Augment(augmentation)
    chance = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)

    def change(batch: tuple, seeds: tf.Tensor) -> tuple:
        return augment.augment(batch, seeds % _DATASET_SEEDS)

    zipped = tf.data.Dataset.zip((dataset, chance))
    return zipped.map(change, num_parallel_calls=2, deterministic=True).prefetch(1)


def _layers_of(a: Augmentation) -> list[AugmentLayer]:
    """Returns the layers that are on, in the order of the microscope."""
    affine = (a.rotation, a.mirror, a.shift, a.ellipticity, a.magnification)
    layers = (
        a.permutation and PermuteViews(a.permutation, name="permute_views"),
        any(affine) and RandomAffine(*affine, name="random_affine"),
        a.mixup and MixUp(a.mixup, name="mix_up"),
        a.noise and PoissonNoise(a.noise, name="poisson_noise"),
        a.erasing and RandomErasing(a.erasing, name="random_erasing"),
    )
    return [layer for layer in layers if layer]


def _apply(layers: Sequence[AugmentLayer], parts: tuple, seed: Any) -> tuple:
    for layer in layers:
        number = (*_OF_ROOTS, *_OF_COUNTS).index(type(layer))
        parts = layer.change(*parts, child_seed(seed, number))
    return parts


def _number(word: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise CbedError(f"augment has {word!r}, should be like 'noise:1e5'") from error
