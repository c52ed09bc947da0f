"""`evaluate`: from a run and a split to scores, figures and a report in the run folder."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import keras

from cbed_tf.dataset.manifest import Manifest
from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError
from cbed_tf.schema import IMAGE
from models.evaluation.answers import ask
from models.evaluation.bootstrap import Bootstrap
from models.evaluation.calibrating import DEV, calibrate, fit_temperatures
from models.evaluation.judged import Judged
from models.evaluation.page import report_page
from models.evaluation.pictures import draw, save_pictures
from models.evaluation.results import metrics_document
from models.evaluation.tables import summary
from models.evaluation.tasks import sample_tasks
from models.networks.network import known_inputs
from models.prediction import calibration
from models.saving import runs
from pipelines.reading.remote import load_manifest
from pipelines.targets import CLASSES

_LOG = logging.getLogger(__name__)


def evaluate(
    run_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    split: str = "test",
    checkpoint: str = runs.BEST,
    batch_size: int = 32,
    compare: str | os.PathLike | None = None,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Scores a run's model on a split and writes metrics, figures and a report into the run folder.

    They lie in `metrics-SPLIT.json`, `figures-SPLIT/` and `report-SPLIT.html`; those of the last
    model in `metrics-SPLIT-last.json` and so on, those beside another run in
    `metrics-SPLIT-vs-RUN2.json` and so on. Where the dev split is asked, for its own sake or
    because the run has no temperatures yet, these are kept in `calibration.json`.

    Args:
      run_dir: A run of `train`.
      data_dir: A data set with patterns of the size that the model was made for: a folder or URL.
      split: Of the data set.
      checkpoint: 'best' or 'last'.
      batch_size: Samples at a time; changes nothing but speed and memory.
      compare: Another run, whose model of the same name is judged on the same samples.
      resamples: How often materials are drawn for the 95 % intervals; 0 for none.

    Returns:
      What is in the metrics file; its 'scores' are those of `scoring.SplitScores.document`, with
      what `comparison.add_comparison` adds.

    Raises:
      CbedError: There is no such model, data set or split, or they do not fit each other; a run is
        compared with itself; the files cannot be written, and the error has the scores.
    """
    if compare is not None and Path(compare).resolve() == Path(run_dir).resolve():
        raise CbedError(f"the run {run_dir} is compared with itself; --compare takes another one")
    manifest = load_manifest(data_dir)
    if not manifest.split(split).samples:
        raise CbedError(f"the {split} split of {data_dir} has no samples")
    run_dirs = [run_dir] if compare is None else [run_dir, compare]
    models = [_load(path, checkpoint, data_dir, manifest) for path in run_dirs]
    judged = [
        _judge(path, checkpoint, *model, data_dir, manifest, split, batch_size)
        for path, model in zip(run_dirs, models, strict=True)
    ]
    document = metrics_document(judged, data_dir, manifest, split, Bootstrap(resamples))
    _write(Path(run_dir), file_suffix(split, checkpoint, compare), document, judged)
    return document


def _load(
    run_dir: str | os.PathLike,
    checkpoint: str,
    data_dir: str | os.PathLike,
    manifest: Manifest,
) -> tuple[keras.Model, str]:
    """Returns a run's model and its checksum: a training may put another in its place meanwhile."""
    there = runs.checkpoint_path(run_dir, checkpoint).exists()  # or else the loading complains
    model_crc32c = calibration.model_checksum(run_dir, checkpoint) if there else ""
    model = runs.load_trained_model(run_dir, checkpoint)
    images = model.input[IMAGE] if isinstance(model.input, dict) else model.input
    if images.shape[1:] != tuple(manifest.image_shape):
        raise CbedError(
            f"the model of {run_dir} takes (views, height, width) {tuple(images.shape[1:])}, "
            f"the data set {data_dir} has {tuple(manifest.image_shape)}"
        )
    return model, model_crc32c


def _judge(
    run_dir: str | os.PathLike,
    checkpoint: str,
    model: keras.Model,
    model_crc32c: str,
    data_dir: str | os.PathLike,
    manifest: Manifest,
    split: str,
    batch_size: int,
) -> Judged:
    """Asks a model about a split, and about dev where it has no temperatures yet."""
    answers = ask(model, data_dir, manifest, split, batch_size)
    tasks = sample_tasks(answers)
    if not tasks:
        keys = ", ".join(target.key for target in answers.targets)
        raise CbedError(f"no sample of the {split} split of {data_dir} has a label of {keys}")
    temperatures = {}
    if split != DEV:
        temperatures = calibration.load_temperatures(run_dir, checkpoint, model_crc32c)
    has_classes = any(target.kind == CLASSES for target in answers.targets)
    has_dev = DEV in manifest.splits and manifest.split(DEV).samples > 0
    if has_classes and not temperatures and has_dev:
        on_dev = tasks
        if split != DEV:
            _LOG.info("%s has no temperatures yet: asking about dev, to fit them", run_dir)
            on_dev = sample_tasks(ask(model, data_dir, manifest, DEV, batch_size, mistakes=0))
        temperatures = fit_temperatures(on_dev)
        try:
            calibration.save_temperatures(run_dir, checkpoint, temperatures, model_crc32c)
        except OSError as error:
            _LOG.warning("the temperatures of %s cannot be kept: %s", run_dir, error)
    return Judged(
        run_dir=os.fspath(run_dir),
        checkpoint=checkpoint,
        weights=model.count_params(),
        inputs=known_inputs(model),
        answers=answers,
        tasks=tasks,
        calibrated=calibrate(tasks, temperatures, is_dev=split == DEV),
        temperatures=temperatures,
    )


def _write(run_dir: Path, suffix: str, document: dict[str, Any], judged: list[Judged]) -> None:
    content = json.dumps(document, indent=1) + "\n"
    figures = draw(judged[0])
    page = report_page(document, judged, figures)
    try:
        write_atomically(run_dir / f"metrics-{suffix}.json", content.encode())
        save_pictures(run_dir / f"figures-{suffix}", figures, judged[0])
        write_atomically(run_dir / f"report-{suffix}.html", page.encode())
    except OSError as error:
        # What may have taken an hour is not lost.
        raise CbedError(
            f"the evaluation in {run_dir} cannot be written: {error}\n{summary(document)}"
        ) from error


def file_suffix(split: str, checkpoint: str, compare: str | os.PathLike | None) -> str:
    """Returns what the names of an evaluation's files end with."""
    parts = [split]
    if checkpoint != runs.BEST:
        parts.append(checkpoint)
    if compare is not None:
        parts.append(f"vs-{Path(compare).resolve().name}")
    return "-".join(parts)
