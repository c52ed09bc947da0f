"""Asks a run's model about raw patterns: a row of `predictions.csv` for every sample."""

import contextlib
import csv
import dataclasses
import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np

from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError
from cbed_tf.progress import Progress
from cbed_tf.scan import Rejection
from models import figures, runs
from models.prediction_table import answer_columns, space_group_captions
from models.raw_samples import InputFile, RawSample, list_inputs, read_samples
from pipelines.targets import TARGETS

_LOG = logging.getLogger(__name__)

_PICTURED_SAMPLES = 6


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a prediction came to: numbers of samples, and the file that lists the refused ones."""

    predicted: int
    rejected: int
    rejected_path: Path


def predict(
    run_dir: str | os.PathLike,
    input_path: str | os.PathLike,
    output_path: str | os.PathLike,
    checkpoint: str = runs.BEST,
    batch_size: int = 32,
    reduce: bool = False,
    figure_path: str | os.PathLike | None = None,
) -> Outcome:
    """Predicts every sample of the input and writes a CSV file, one row a sample.

    Args:
      run_dir: A run of `train`.
      input_path: An HDF5 file of samples (attributes are not needed), a .npy array of raw
        intensities, (views, height, width) or (samples, views, height, width), or a folder.
      output_path: New CSV file. Samples that were refused are listed beside it, in
        `NAME.rejected.jsonl`; that file exists only if there are any.
      checkpoint: 'best' or 'last'.
      batch_size: Samples at a time; memory holds two batches.
      reduce: Sum square blocks of pixels where the patterns are larger than the model's.
      figure_path: New PNG file with pictures of the first samples, if wanted.

    Raises:
      CbedError: There is no model or no input, or an output file exists already.
    """
    output_path = Path(output_path)
    rejected_path = output_path.with_suffix(".rejected.jsonl")
    _refuse_existing(output_path, rejected_path, figure_path and Path(figure_path))
    model = runs.load_trained_model(run_dir, checkpoint)
    files, rejections = list_inputs(Path(input_path))
    for rejection in rejections:
        _warn(rejection)
    samples = _sound_samples(files, model.input_shape[1:], reduce, rejections)
    batches = _one_ahead(_batches(samples, batch_size))
    predicted = _write_table(output_path, model, batches, figure_path)
    if rejections:
        lines = [json.dumps(dataclasses.asdict(rejection)) + "\n" for rejection in rejections]
        write_atomically(rejected_path, "".join(lines).encode())
    return Outcome(predicted, len(rejections), rejected_path)


def _refuse_existing(*paths: Path | None) -> None:
    for path in paths:
        if path and path.exists():
            raise CbedError(f"{path} exists, and nothing is overwritten: move it or choose another")
        if path and not path.parent.is_dir():
            raise CbedError(f"{path} cannot be written: there is no folder {path.parent}")


def _sound_samples(
    files: list[InputFile],
    image_shape: tuple[int, int, int],
    reduce: bool,
    rejections: list[Rejection],
) -> Iterator[RawSample]:
    """Yields the samples of all files that the model can take; the others join `rejections`."""
    with Progress("predicting", sum(len(file.samples) for file in files), "samples") as progress:
        for file in files:
            for sample in read_samples(file, image_shape, reduce):
                if isinstance(sample, Rejection):
                    _warn(sample)
                    rejections.append(sample)
                else:
                    yield sample
                progress.advance(1)


def _warn(rejection: Rejection) -> None:
    _LOG.warning("refused %s: %s", rejection.sample_id, rejection.reason)


def _batches(samples: Iterator[RawSample], batch_size: int) -> Iterator[list[RawSample]]:
    batch = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _one_ahead(batches: Iterator[list[RawSample]]) -> Iterator[list[RawSample]]:
    """Reads the next batch while the model is busy with this one."""
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, batches, None)
        while batch := upcoming.result():
            upcoming = reader.submit(next, batches, None)
            yield batch


def _write_table(
    output_path: Path,
    model: keras.Model,
    batches: Iterator[list[RawSample]],
    figure_path: str | os.PathLike | None,
) -> int:
    """Writes a row for each sample, and a picture of the first ones; returns their number."""
    targets = [target for key, target in TARGETS.items() if key in model.output]
    count = 0
    with _whole_file(output_path) as stream:
        table = csv.writer(stream)
        no_answers = {key: np.zeros((0, output.shape[1])) for key, output in model.output.items()}
        table.writerow(["sample_id", *answer_columns(targets, no_answers)])
        for batch in batches:
            images = np.stack([sample.stack for sample in batch])
            answers = model.predict_on_batch(images)
            names = [sample.sample_id for sample in batch]
            table.writerows(zip(names, *answer_columns(targets, answers).values(), strict=True))
            if count == 0 and figure_path:
                captions = space_group_captions(names, answers)[:_PICTURED_SAMPLES]
                figures.save_patterns(Path(figure_path), images[:_PICTURED_SAMPLES], captions)
            count += len(batch)
    return count


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator:
    """Opens a file for text that appears under its name when it is complete, or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", newline="") as stream:
            yield stream
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
