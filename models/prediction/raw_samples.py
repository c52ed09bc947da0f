"""Samples that a model can be asked about, out of files of patterns; the others with the reason."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from cbed_tf.archive.scan import Rejection
from cbed_tf.conversion.shard import sum_areas
from cbed_tf.errors import SampleError
from cbed_tf.schema import IMAGE
from models.prediction.known_inputs import Known
from models.prediction.pattern_files import PatternFile, Reader, opened
from models.prediction.training_intensities import TrainingIntensities, check_raw

_MATERIAL = "material"


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a model needs of a sample.

    Attributes:
      image_shape: (views, height, width) that it takes.
      known: What it is told beside the patterns.
      intensities: Of its training; None leaves brightness and span of the patterns unchecked.
      reduce: Sum square blocks of pixels where the patterns are larger, as `cbed convert
        --image_size` does.
      material: Whether samples of one material have to be told from others.
      missing_views: Whether it can do without views, which are then all zeros.
    """

    image_shape: tuple[int, int, int]
    known: Known = dataclasses.field(default_factory=Known)
    intensities: TrainingIntensities | None = None
    reduce: bool = False
    material: bool = False
    missing_views: bool = False


@dataclasses.dataclass(frozen=True)
class RawSample:
    """A sample that was checked.

    Attributes:
      sample_id: File and group, or file and row.
      stack: Raw patterns, float32 (views, height, width).
      known: What the model is told beside them, float32 (size,), by name.
      material: The same for all samples of one material; empty where nobody needs it.
    """

    sample_id: str
    stack: np.ndarray
    known: Mapping[str, np.ndarray]
    material: str


def read_samples(file: PatternFile, needs: Needs) -> Iterator[RawSample | Rejection]:
    """Yields the samples of a file one by one: each that the model can take, or why it cannot."""
    for stranger, reason in file.strangers:
        yield Rejection(f"{file.name}/{stranger}", str(file.path), reason)
    with opened(file) as reader:
        for sample in file.samples:
            try:
                yield _read_sample(file, sample, reader, needs)
            except SampleError as error:
                yield Rejection(f"{file.name}/{sample}", str(file.path), str(error))


def _read_sample(file: PatternFile, sample: str, reader: Reader, needs: Needs) -> RawSample:
    known = needs.known.find(lambda name: reader.attribute(sample, name))
    material = ""
    if needs.material:
        material = reader.attribute(sample, _MATERIAL) or file.material_of(sample)
    stack = _fit(reader.stack(sample), needs.image_shape, needs.reduce)
    check_raw(stack, needs.intensities, needs.missing_views)
    return RawSample(f"{file.name}/{sample}", stack, known, material)


def _fit(stack: np.ndarray, image_shape: tuple[int, int, int], reduce: bool) -> np.ndarray:
    """Returns patterns of the shape that a model takes, or raises SampleError."""
    if stack.shape == image_shape:
        return stack
    if not _has_whole_blocks(stack.shape, image_shape):
        raise SampleError(f"{IMAGE} has shape {stack.shape}, the model takes {image_shape}")
    if not reduce:
        raise SampleError(
            f"{IMAGE} has shape {stack.shape}, the model takes {image_shape}; if it was trained on "
            "patterns that were reduced by area sums, --sum_areas does that here too"
        )
    return sum_areas(stack, image_shape)


def _has_whole_blocks(shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> bool:
    views, size, width = image_shape
    square = size == width and len(shape) == 3 and shape[1] == shape[2]
    return square and shape[0] == views and shape[1] % size == 0
