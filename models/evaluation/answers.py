"""What a model says about every sample of a split, beside what is true."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from cbed_tf.dataset.encoding import decode_stack
from cbed_tf.dataset.manifest import Manifest
from cbed_tf.processes.progress import Progress
from cbed_tf.schema import IMAGE, PATTERN_MAX
from models.evaluation.worst import Mistake, WorstMistakes, severities
from models.networks.network import front_for, known_inputs
from models.networks.probabilities import SPACE_GROUP
from pipelines import TARGETS, Target, load_dataset
from pipelines.reading.remote import load_index
from pipelines.targets import CLASSES, QUANTITY

_SHOWN_MISTAKES = 12
_ABOUT_SAMPLES = ("sample_id", "material", "formula", "space_group", "energy_keV", "z_dirs")


@dataclasses.dataclass(frozen=True)
class Answers:
    """Answers, labels and what else is known of the samples, one row a sample.

    Attributes:
      targets: The answered ones.
      predicted: By output of the model: target keys, and KEY_std where deviations are predicted.
      labels: By target key, as `Target.encode` gives them.
      columns: Of the index: sample ids, materials, formulas, space groups, energies, zone axes.
      mistakes: The worst answers to `main_target`, with patterns.
    """

    targets: tuple[Target, ...]
    predicted: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    columns: Mapping[str, np.ndarray]
    mistakes: tuple[Mistake, ...] = ()

    @functools.cached_property
    def groups(self) -> np.ndarray:
        """The material of each sample as a number, from 0, without gaps."""
        return np.unique(self.columns["material"], return_inverse=True)[1]

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.groups)

    @property
    def materials(self) -> int:
        """Number of materials."""
        return int(self.groups.max()) + 1


def ask(
    model: keras.Model,
    data_dir: str | os.PathLike,
    manifest: Manifest,
    split: str,
    batch_size: int,
    mistakes: int = _SHOWN_MISTAKES,
) -> Answers:
    """Asks a model about a split, batch by batch; memory does not grow with the patterns.

    Args:
      model: From `runs.load_trained_model`.
      data_dir: The data set.
      manifest: Of it.
      split: Of it.
      batch_size: Samples at a time.
      mistakes: How many of the worst answers to keep patterns of.
    """
    targets = tuple(target for key, target in TARGETS.items() if key in model.output)
    columns = load_index(data_dir, split, {*_ABOUT_SAMPLES, *(target.source for target in targets)})
    labels = {target.key: target.encode(columns[target.source]) for target in targets}
    main, worst = main_target(targets), WorstMistakes(mistakes)
    known = is_labelled(main, labels[main.key])
    asked = front_for(model, manifest.encoding)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in model.output}
    row = 0
    with Progress(f"asking about {split}", len(columns["material"]), "samples") as progress:
        # Unshuffled, so the samples come in the order of the index.
        for images, _ in load_dataset(data_dir, split, batch_size, inputs=known_inputs(model)):
            answers = asked.predict_on_batch(images)
            for name, answer in answers.items():
                parts[name].append(answer)
            end = row + len(answers[main.key])
            wrong = severities(
                main, answers[main.key], labels[main.key][row:end], manifest.statistics
            )
            wrong = np.where(known[row:end], wrong, 0)
            worst.offer(row, columns["material"][row:end], wrong, _stacks(images))
            progress.advance(end - row)
            row = end
    predicted = {name: np.concatenate(answers) for name, answers in parts.items()}
    return Answers(targets, predicted, labels, columns, tuple(worst.found()))


def is_labelled(target: Target, labels: np.ndarray) -> np.ndarray:
    """Returns which samples have all of a target's label, bool (samples,); see `Target`."""
    if target.kind == CLASSES:
        return labels >= 0
    if target.kind == QUANTITY:
        return np.isfinite(labels).all(axis=1)
    return labels.any(axis=1)


def main_target(targets: tuple[Target, ...]) -> Target:
    """Returns the target whose mistakes are shown: the space group, or else classes, or any."""
    return min(targets, key=lambda target: (target.key != SPACE_GROUP, target.kind != CLASSES))


def _stacks(images: tf.Tensor | dict[str, tf.Tensor]) -> Callable[[int], np.ndarray]:
    """Returns a function that gives raw intensities of a sample of what `load_dataset` yields."""
    patterns = images[IMAGE] if isinstance(images, dict) else images
    if patterns is images or PATTERN_MAX.name not in images:
        return lambda place: patterns[place].numpy()
    maxima = images[PATTERN_MAX.name]
    return lambda place: decode_stack(patterns[place].numpy(), maxima[place].numpy())
