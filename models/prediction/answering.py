"""A finished run's model as it is asked: raw intensities in, calibrated answers out.

`cbed predict` and `cbed export` both take it from here, so that an exported model answers what
`cbed predict` answers. How temperatures are fitted and kept is known to `calibration.py`.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from cbed_tf.schema import IMAGE
from models.networks.fusion import PresentViews
from models.networks.probabilities import COARSER, SPACE_GROUP
from models.prediction import calibration
from models.saving import runs
from pipelines.targets import TARGETS, space_groups_of_class


@dataclasses.dataclass(frozen=True)
class AnsweringModel:
    """A model to be asked.

    Attributes:
      model: Answers a dict by target key, in natural units; not for further training.
      temperatures: By target key, those that are part of the model.
    """

    model: keras.Model
    temperatures: Mapping[str, float]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(views, height, width) of a sample."""
        return self.inputs()[IMAGE].shape[1:]

    @property
    def known_sizes(self) -> dict[str, int]:
        """How many numbers each known input has for a sample, by its name."""
        return {name: put.shape[1] for name, put in self.inputs().items() if name != IMAGE}

    @property
    def takes_missing_views(self) -> bool:
        """Whether it leaves out views that are all zeros, or would take them for patterns."""
        return any(isinstance(layer, PresentViews) for layer in self.model.layers)

    def inputs(self) -> dict[str, keras.KerasTensor]:
        """Returns the model's inputs by name, the patterns first."""
        inputs = self.model.input
        if not isinstance(inputs, dict):
            return {IMAGE: inputs}
        return {IMAGE: inputs[IMAGE], **inputs}

    def ask(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the answers to a batch.

        Args:
          inputs: 'cbed_stack', float32 (batch, views, height, width), and the known inputs,
            float32 (batch, size).
        """
        return self.model.predict_on_batch(self._as_taken(inputs))

    def call(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answers as tensors, for use inside a graph; otherwise like `ask`."""
        return self.model(self._as_taken(tensors), training=False)

    def _as_taken(self, inputs: Mapping[str, Any]) -> Any:
        return dict(inputs) if isinstance(self.model.input, dict) else inputs[IMAGE]


def load_answering_model(
    run_dir: str | os.PathLike, checkpoint: str = runs.BEST, calibrated: bool = True
) -> AnsweringModel:
    """Returns a run's model, with the temperatures that were fitted to it if there are any.

    Args:
      run_dir: A run of `train`.
      checkpoint: 'best' or 'last'.
      calibrated: False leaves the probabilities as the training made them.

    Raises:
      CbedError: The run has no such model, or its file or that of the temperatures is damaged.
    """
    model = runs.load_trained_model(run_dir, checkpoint)
    temperatures = calibration.load_temperatures(run_dir, checkpoint) if calibrated else {}
    temperatures = _effective(temperatures, model.output)
    return AnsweringModel(calibrate(model, temperatures), temperatures)


def _effective(temperatures: Mapping[str, float], keys: Iterable[str]) -> dict[str, float]:
    """Returns the temperatures that change an answer; coarser classes follow the space group."""
    keys = [key for key in keys if key in temperatures]
    followers = COARSER if SPACE_GROUP in keys else ()
    return {key: temperatures[key] for key in keys if key not in followers}


def calibrate(model: keras.Model, temperatures: Mapping[str, float]) -> keras.Model:
    """Returns a model of the same weights whose probabilities are calibrated.

    Crystal systems and point groups become those of the calibrated space groups, where these are.

    Each becomes what `calibration.apply_temperature` makes of it.

    Args:
      model: From `build_model`, trained.
      temperatures: By target key; without any, the answer is `model` itself.
    """
    if not temperatures:
        return model
    answers = dict(model.output)
    for key, temperature in temperatures.items():
        # Equals p ** (1 / T), renormalised; the softmax keeps small ones from becoming 0 / 0.
        answers[key] = ops.softmax(ops.log(answers[key]) / temperature)
    if SPACE_GROUP in temperatures:
        for key in COARSER:
            if key in answers:
                answers[key] = _pool_space_groups(answers[SPACE_GROUP], key)
    return keras.Model(model.input, answers, name=f"{model.name}_calibrated")


def _pool_space_groups(probabilities: keras.KerasTensor, key: str) -> keras.KerasTensor:
    # A product with zeros and ones would be rounded to ten bits on GPUs that have TensorFloat-32.
    class_of, count = space_groups_of_class(key), len(TARGETS[key].class_names)
    return ops.transpose(ops.segment_sum(ops.transpose(probabilities), class_of, count))
