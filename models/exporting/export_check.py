"""Whether an exported model answers what the run's model answers, and how fast it is."""

import contextlib
import dataclasses
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from cbed_tf.errors import CbedError
from cbed_tf.processes.progress import Progress
from cbed_tf.schema import IMAGE
from models.exporting.saved_model import Ask
from models.prediction.answering import AnsweringModel
from models.prediction.training_intensities import TrainingIntensities

TOLERANCE = 1e-5
_PROBE_SAMPLES = 8
_FEWEST_CALLS, _MOST_CALLS = 5, 50
_SECONDS = 4.0
# Where nothing tells what the patterns of the training were like: those of a detector with little
# noise, of which the brightest pixel holds a hundredth of the beam.
_USUAL = TrainingIntensities(1e-2, 1e-2, 12.0)
_MOST_DECADES = 15.0


def make_probe(
    model: AnsweringModel, samples: int, intensities: TrainingIntensities | None = None
) -> dict[str, np.ndarray]:
    """Returns noise in the range of raw patterns, and known inputs of a usual size.

    Args:
      model: What shall be asked.
      samples: How many.
      intensities: Of the training, if they are known.
    """
    seen = intensities or _USUAL
    random = np.random.default_rng(0)
    shape = (samples, *model.image_shape)
    decades = random.uniform(-min(seen.fewest_decades, _MOST_DECADES), 0, shape)
    patterns = seen.brightest * 10.0**decades
    known = {
        name: random.uniform(1, 200, (samples, size)) for name, size in model.known_sizes.items()
    }
    return {name: x.astype(np.float32) for name, x in {IMAGE: patterns, **known}.items()}


def largest_difference(
    answers: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> tuple[float, str]:
    """Returns how far answers to a probe lie from others, and the key where they do most.

    Differences are relative to the spread of an output over the probe, or to a tenth of its size
    where that is more: an answer that hardly changes is not known better than to float32.
    Infinite where an output is missing or is no number.
    """
    if answers.keys() != others.keys():
        return np.inf, ", ".join(sorted(answers.keys() ^ others.keys()))
    return max((_relative_difference(answers[key], others[key]), key) for key in others)


def _relative_difference(answer: np.ndarray, other: np.ndarray) -> float:
    if answer.shape != other.shape or not np.isfinite(answer).all():
        return np.inf
    scale = max(float(other.std(axis=0).max()), float(np.abs(other).max()) / 10)
    difference = float(np.abs(answer - other).max())
    return difference / scale if difference > 0 else 0.0


def check_equal(
    model: AnsweringModel, ask: Ask, intensities: TrainingIntensities | None = None
) -> float:
    """Returns how far an exported model's answers lie from the model's own.

    Args:
      model: The original.
      ask: Asks the exported one.
      intensities: Of the training, if they are known.

    Raises:
      CbedError: It is more than TOLERANCE.
    """
    probe = make_probe(model, _PROBE_SAMPLES, intensities)
    with _full_precision():
        difference, key = largest_difference(ask(probe), _ask_as_graph(model, probe))
    if not difference <= TOLERANCE:
        raise CbedError(
            f"the exported model does not answer what the run's model answers: {key} differs by "
            f"{difference:.2g} of its spread, should by {TOLERANCE:g} at most; nothing was written"
        )
    return difference


def _ask_as_graph(model: AnsweringModel, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a model's answers as a plain graph computes them, which an exported model is.

    On GPUs `model.ask` goes by way of XLA, which rounds float16 elsewhere: a model that computes in
    it then answers otherwise by some thousandths.
    """
    answers = tf.function(model.call, autograph=False)(
        {name: tf.constant(values) for name, values in inputs.items()}
    )
    return {key: values.numpy() for key, values in answers.items()}


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Keeps GPUs from rounding float32 to ten bits, which two ways of computing do differently."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds for each sample of a batch, over several calls."""

    batch_size: int
    median_ms: float
    least_ms: float
    most_ms: float


def measure_latency(
    model: AnsweringModel, ask: Ask, batch_sizes: Sequence[int]
) -> tuple[Latency, ...]:
    """Times an exported model, from arrays in memory to arrays in memory."""
    latencies = []
    with Progress("timing", len(batch_sizes), "batch sizes") as progress:
        for batch_size in batch_sizes:
            probe = make_probe(model, batch_size)
            times = [1000 * t / batch_size for t in _time_calls(ask, probe, progress)]
            latencies.append(Latency(batch_size, statistics.median(times), min(times), max(times)))
            progress.advance(1)
    return tuple(latencies)


def _time_calls(ask: Ask, probe: Mapping[str, np.ndarray], progress: Progress) -> list[float]:
    """Returns the seconds of each call, after a first one, which is slow and says nothing."""
    ask(probe)
    times: list[float] = []
    while len(times) < _FEWEST_CALLS or (len(times) < _MOST_CALLS and sum(times) < _SECONDS):
        start = time.perf_counter()
        ask(probe)
        times.append(time.perf_counter() - start)
        progress.advance(0)  # a sign of life, where calls take long
    return times


def device_name() -> str:
    """Returns what TensorFlow computes on here."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{os.cpu_count()} CPU cores"
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
