"""Judges a run on a split: scores beside baselines, as a file, a table and pictures."""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cbed_tf.durable import write_atomically
from cbed_tf.encoding import decode_stack
from cbed_tf.errors import CbedError
from cbed_tf.manifest import Manifest
from cbed_tf.schema import IMAGE, PATTERN_MAX
from models import figures, reports, runs, scores
from models.network import front_for
from models.prediction_table import quantity_names, space_group_captions
from pipelines import TARGETS, Target, load_dataset
from pipelines.remote import load_index, load_manifest
from pipelines.targets import QUANTITY

_PICTURED_SAMPLES = 6


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a model says about every sample of a split, beside what is true.

    Attributes:
      targets: The answered ones.
      predicted: By target key, one row a sample.
      labels: Likewise.
      materials: Of the samples.
      first_images: The first few samples' raw intensities, for pictures.
    """

    targets: tuple[Target, ...]
    predicted: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    materials: np.ndarray
    first_images: np.ndarray


def evaluate(
    run_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    split: str = "test",
    checkpoint: str = runs.BEST,
    batch_size: int = 32,
) -> dict[str, Any]:
    """Scores a run's model on a split and writes metrics and figures into the run folder.

    They lie in `metrics-SPLIT.json` and `figures-SPLIT/`; those of the last model in
    `metrics-SPLIT-last.json` and `figures-SPLIT-last/`.

    Args:
      run_dir: A run of `train`.
      data_dir: A data set with patterns of the size that the model was made for: a folder or URL.
      split: Of the data set.
      checkpoint: 'best' or 'last'.
      batch_size: Samples at a time; changes nothing but speed and memory.

    Returns:
      What is in the metrics file; its 'scores' are those of `reports.score_targets`.

    Raises:
      CbedError: There is no such model, data set or split, or they do not fit each other.
    """
    manifest = load_manifest(data_dir)
    manifest.split(split)
    model = runs.load_trained_model(run_dir, checkpoint)
    if model.input_shape[1:] != tuple(manifest.image_shape):
        raise CbedError(
            f"the model of {run_dir} takes (views, height, width) {model.input_shape[1:]}, "
            f"the data set {data_dir} has {tuple(manifest.image_shape)}"
        )
    answers = _ask(model, data_dir, manifest, split, batch_size)
    document = {
        "run_dir": os.fspath(run_dir),
        "checkpoint": checkpoint,
        "data_dir": os.fspath(data_dir),
        "split": split,
        "samples": len(answers.materials),
        "materials": len(np.unique(answers.materials)),
        "baselines_from": "train" if "train" in manifest.splits else "all splits",
        "scores": reports.score_targets(answers.predicted, answers.labels, manifest),
    }
    suffix = split if checkpoint == runs.BEST else f"{split}-{checkpoint}"
    content = json.dumps(document, indent=1) + "\n"
    write_atomically(Path(run_dir) / f"metrics-{suffix}.json", content.encode())
    _draw(Path(run_dir) / f"figures-{suffix}", answers)
    return document


def _ask(
    model: keras.Model,
    data_dir: str | os.PathLike,
    manifest: Manifest,
    split: str,
    batch_size: int,
) -> Answers:
    targets = tuple(target for key, target in TARGETS.items() if key in model.output)
    columns = load_index(data_dir, split, {"material", *(target.source for target in targets)})
    # Unshuffled, so the samples come in the order of the index.
    images = load_dataset(data_dir, split, batch_size).map(lambda images, _: images)
    asked = front_for(model, manifest.encoding)
    predicted = asked.predict(images, verbose=1 if sys.stdout.isatty() else 0)
    return Answers(
        targets=targets,
        predicted={target.key: predicted[target.key] for target in targets},
        labels={target.key: target.encode(columns[target.source]) for target in targets},
        materials=columns["material"],
        first_images=_intensities(next(images.as_numpy_iterator()))[:_PICTURED_SAMPLES],
    )


def _intensities(images: np.ndarray | dict[str, np.ndarray]) -> np.ndarray:
    """Returns raw intensities of what `load_dataset` yields."""
    if isinstance(images, dict):
        return decode_stack(images[IMAGE], images[PATTERN_MAX.name])
    return images


def _draw(folder: Path, answers: Answers) -> None:
    folder.mkdir(exist_ok=True)
    _draw_crystal_systems(folder, answers)
    for target in answers.targets:
        if target.kind == QUANTITY:
            labels = answers.labels[target.key]
            names = quantity_names(target, labels.shape[1])
            path = folder / f"{target.key}.png"
            figures.save_scatter(path, labels, answers.predicted[target.key], names, target.unit)
    figures.save_patterns(folder / "patterns.png", answers.first_images, _captions(answers))


def _draw_crystal_systems(folder: Path, answers: Answers) -> None:
    """Draws confusion between crystal systems, from their own head or from the space groups."""
    target = TARGETS["crystal_system"]
    if target.key in answers.predicted:
        probabilities, labels = answers.predicted[target.key], answers.labels[target.key]
    elif "space_group" in answers.predicted:
        probabilities = reports.coarsen(target, answers.predicted["space_group"])
        labels = reports.coarse_labels(target, answers.labels["space_group"])
    else:
        return
    counts = scores.confusion(probabilities.argmax(axis=1), labels, len(target.class_names))
    figures.save_confusion(folder / "crystal_system.png", counts, target.class_names)


def _captions(answers: Answers) -> list[str]:
    """Returns a caption for each pictured sample: true and predicted space group."""
    count = len(answers.first_images)
    if "space_group" not in answers.predicted:
        return [material.decode() for material in answers.materials[:count]]
    true = [f"true {label + 1}" for label in answers.labels["space_group"][:count]]
    return space_group_captions(true, {"space_group": answers.predicted["space_group"][:count]})
