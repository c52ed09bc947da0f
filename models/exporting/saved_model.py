"""A model as a TensorFlow SavedModel, written and asked without keras in between.

`tf.saved_model.save` takes a graph and its variables only, so that nothing of keras or of this
package is needed to load it. `keras.Model.export` would do, but is another piece of code in each
release of keras, and names inputs as it likes.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from models.prediction.answering import AnsweringModel

SIGNATURE = "serving_default"

Ask = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def write_saved_model(model: AnsweringModel, folder: str | os.PathLike) -> None:
    """Writes a SavedModel that takes float32 tensors by the names of the model's inputs.

    Args:
      model: What to write; any number of samples may be asked at a time.
      folder: New folder.
    """
    inputs = model.inputs()
    signature = {name: tf.TensorSpec(put.shape, put.dtype, name) for name, put in inputs.items()}

    @tf.function(input_signature=[signature], autograph=False)
    def answer(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return model.call(tensors)

    traced = answer.get_concrete_function()
    module = tf.Module()
    module.weights = list(traced.variables)
    tf.saved_model.save(module, os.fspath(folder), signatures={SIGNATURE: traced})


def load_saved_model(folder: str | os.PathLike) -> Ask:
    """Returns a function that asks a SavedModel as others would, by its signature."""
    loaded = tf.saved_model.load(os.fspath(folder))
    answer = loaded.signatures[SIGNATURE]

    def ask(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = answer(**{name: tf.constant(values) for name, values in inputs.items()})
        return {key: values.numpy() for key, values in answers.items()}

    ask.keep = loaded  # its variables die with it
    return ask


def size_bytes(folder: str | os.PathLike) -> int:
    """Returns how much room the files in a folder and below it take."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
