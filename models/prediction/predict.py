"""Asks a run's model about raw patterns: a row of `predictions.csv` for every sample."""

import contextlib
import csv
import dataclasses
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cbed_tf.archive.scan import Rejection
from cbed_tf.durable import new_file, write_atomically
from cbed_tf.errors import CbedError
from cbed_tf.processes.progress import Progress
from cbed_tf.schema import IMAGE
from models import figures
from models.prediction import training_intensities
from models.prediction.answering import AnsweringModel, load_answering_model
from models.prediction.joint_answers import JointAnswers
from models.prediction.known_inputs import Known
from models.prediction.pattern_files import PatternFile, list_files
from models.prediction.prediction_table import (
    answer_columns,
    quantity_columns,
    space_group_captions,
)
from models.prediction.raw_samples import Needs, RawSample, read_samples
from models.saving import runs
from pipelines.targets import CLASSES, TARGETS

_LOG = logging.getLogger(__name__)

_PICTURED_SAMPLES = 6


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a prediction came to.

    Attributes:
      predicted: Number of samples.
      rejected: Number of samples and files that were refused.
      rejected_path: The file that lists these, if there are any.
      materials: Number of joint answers.
      materials_path: The file that has these, if they were wanted.
    """

    predicted: int
    rejected: int
    rejected_path: Path
    materials: int
    materials_path: Path


def predict(
    run_dir: str | os.PathLike,
    input_path: str | os.PathLike,
    output_path: str | os.PathLike,
    checkpoint: str = runs.BEST,
    batch_size: int = 32,
    reduce: bool = False,
    figure_path: str | os.PathLike | None = None,
    calibrated: bool = True,
    joint: bool = False,
    known: Mapping[str, Sequence[float]] | None = None,
    check_raw: bool = True,
) -> Outcome:
    """Predicts every sample of the input and writes a CSV file, one row a sample.

    Args:
      run_dir: A run of `train`.
      input_path: An HDF5 file of samples (attributes are not needed, but for known inputs), a .npy
        array of raw intensities, (views, height, width) or (samples, views, height, width), or a
        folder.
      output_path: New CSV file. Samples that were refused are listed beside it, in
        `NAME.rejected.jsonl`; that file exists only if there are any.
      checkpoint: 'best' or 'last'.
      batch_size: Samples at a time; memory holds two batches.
      reduce: Sum square blocks of pixels where the patterns are larger than the model's.
      figure_path: New PNG file with pictures of the first samples, if wanted.
      calibrated: Apply the temperatures that `evaluate` has fitted, if it has.
      joint: Write `NAME.materials.csv` too, a row for each material with one answer from all of its
        samples. Which material a sample shows is told by its attribute `material`, else by the name
        of its group, sample_{i}_{e}, where i counts the materials of the file.
      known: For models trained with known inputs, values that hold for all samples; the others are
        read from the samples' attributes.
      check_raw: Refuse samples that are much unlike those of the training in their intensities.

    Raises:
      CbedError: There is no model or no input, or an output file exists already or cannot be
        written; nothing is left of the others then.
    """
    output_path = Path(output_path)
    rejected_path = output_path.with_suffix(".rejected.jsonl")
    materials_path = output_path.with_suffix(".materials.csv")
    _refuse_existing(
        output_path, rejected_path, joint and materials_path, figure_path and Path(figure_path)
    )
    model = load_answering_model(run_dir, checkpoint, calibrated)
    _log_calibration(model)
    intensities = _intensities(run_dir) if check_raw else None
    takes = Known(model.known_sizes, known or {})
    needs = Needs(model.image_shape, takes, intensities, reduce, joint, model.takes_missing_views)
    files, rejections = list_files(Path(input_path))
    if joint:
        _refuse_arrays(files)
    for rejection in rejections:
        _warn(rejection)
    batches = _one_ahead(_batches(_sound_samples(files, needs, rejections), batch_size))
    answers = JointAnswers({key: output.shape[1] for key, output in model.model.output.items()})
    beside = [rejected_path, *([materials_path] if joint else [])]
    beside += [Path(figure_path)] if figure_path else []
    # The table gets its name last: who finds it finds all that belongs to it.
    with _all_or_none(output_path, beside), _new_table(output_path) as table:
        predicted, pictured = _write_rows(table, model, batches, answers if joint else None)
        if joint:
            _write_joint_table(materials_path, answers)
        if rejections:
            lines = [json.dumps(dataclasses.asdict(rejection)) + "\n" for rejection in rejections]
            write_atomically(rejected_path, "".join(lines).encode())
        if figure_path and predicted:
            figures.save_patterns(Path(figure_path), *pictured)
    return Outcome(predicted, len(rejections), rejected_path, len(answers), materials_path)


def _refuse_existing(*paths: Path | bool | None) -> None:
    for path in paths:
        if path and path.exists():
            raise CbedError(f"{path} exists, and nothing is overwritten: move it or choose another")
        if path and not path.parent.is_dir():
            raise CbedError(f"{path} cannot be written: there is no folder {path.parent}")


@contextlib.contextmanager
def _all_or_none(output_path: Path, beside: Sequence[Path]) -> Iterator[None]:
    """Removes the files beside a table if the block fails: the same command can be given again.

    Raises:
      CbedError: One cannot be written.
    """
    try:
        yield
    except BaseException as error:
        for path in beside:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CbedError(f"{output_path} cannot be written: {error}") from error
        raise


def _refuse_arrays(files: Sequence[PatternFile]) -> None:
    for file in files:
        if file.is_array:
            raise CbedError(
                f"{file.path} does not tell which of its samples show one material, so there is no "
                "joint answer: HDF5 files tell it"
            )


def _log_calibration(model: AnsweringModel) -> None:
    """Says which probabilities may be taken at their word."""
    for key, temperature in model.temperatures.items():
        _LOG.info("probabilities of %s are calibrated (temperature %.3g)", key, temperature)
    answers = model.model.output
    if not model.temperatures and any(TARGETS[k].kind == CLASSES for k in answers if k in TARGETS):
        _LOG.info("probabilities are as the model gives them, not calibrated")


def _intensities(run_dir: str | os.PathLike) -> training_intensities.TrainingIntensities | None:
    intensities = training_intensities.load(run_dir)
    if intensities is None:
        _LOG.info(
            "nothing tells how bright the training's patterns were (no %s in the run): the "
            "brightness of these is not checked",
            training_intensities.FILE_NAME,
        )
    return intensities


def _sound_samples(
    files: list[PatternFile], needs: Needs, rejections: list[Rejection]
) -> Iterator[RawSample]:
    """Yields the samples of all files that the model can take; the others join `rejections`."""
    with Progress("predicting", sum(len(file.samples) for file in files), "samples") as progress:
        for file in files:
            for sample in read_samples(file, needs):
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


def _write_rows(
    table: Any,
    model: AnsweringModel,
    batches: Iterator[list[RawSample]],
    joint: JointAnswers | None,
) -> tuple[int, tuple[np.ndarray, list[str]]]:
    """Writes a row for each sample; returns their number, and stacks and captions of the first."""
    outputs = model.model.output
    targets = [target for key, target in TARGETS.items() if key in outputs]
    no_answers = {key: np.zeros((0, output.shape[1])) for key, output in outputs.items()}
    first = ["sample_id", *(["material"] if joint is not None else [])]
    table.writerow([*first, *answer_columns(targets, no_answers)])
    count, pictured = 0, (np.zeros((0, *model.image_shape)), [])
    for batch in batches:
        inputs = _stacked(batch)
        answers = model.ask(inputs)
        names = [sample.sample_id for sample in batch]
        leading = [names]
        if joint is not None:
            leading.append([sample.material for sample in batch])
            joint.add(leading[1], answers)
        table.writerows(zip(*leading, *answer_columns(targets, answers).values(), strict=True))
        if count == 0:
            captions = space_group_captions(names, answers)[:_PICTURED_SAMPLES]
            pictured = inputs[IMAGE][:_PICTURED_SAMPLES].copy(), captions
        count += len(batch)
    return count, pictured


def _stacked(batch: Sequence[RawSample]) -> dict[str, np.ndarray]:
    """Returns a batch as a model takes it."""
    known = {name: np.stack([sample.known[name] for sample in batch]) for name in batch[0].known}
    return {IMAGE: np.stack([sample.stack for sample in batch]), **known}


def _write_joint_table(path: Path, joint: JointAnswers) -> None:
    """Writes a row for each material; quantities are means, `_spread` is over its samples."""
    with _new_table(path) as table:
        for position, rows in enumerate(joint):
            columns = answer_columns(joint.targets, rows.answers)
            for key, spread in rows.spreads.items():
                columns.update(quantity_columns(TARGETS[key], spread, "_spread"))
            if position == 0:
                table.writerow(["material", "samples", *columns])
            table.writerows(zip(rows.materials, rows.samples, *columns.values(), strict=True))


@contextlib.contextmanager
def _new_table(path: Path) -> Iterator[Any]:
    """Opens a CSV file that appears under its name when it is complete, or not at all."""
    with new_file(path) as stream:
        text = io.TextIOWrapper(stream, "utf-8", newline="")
        yield csv.writer(text)
        text.detach()  # writes what is left, and leaves the file to be closed
