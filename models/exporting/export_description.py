"""What a program has to know of an exported model, as JSON beside it.

FOLDER/cbed.json: inputs and outputs by name with shapes, units and class names, and where the model
comes from.
"""

import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from cbed_tf import __version__
from cbed_tf.schema import FIELD, IMAGE
from models.exporting.saved_model import SIGNATURE
from models.networks.heads import STD
from models.prediction.answering import AnsweringModel
from models.prediction.training_intensities import TrainingIntensities
from models.saving import runs
from pipelines.targets import CLASSES, FRACTIONS, TARGETS

NAME = "cbed.json"
_KINDS = {CLASSES: "probabilities", FRACTIONS: "fractions"}


def describe(
    model: AnsweringModel,
    run_dir: str | os.PathLike,
    checkpoint: str,
    intensities: TrainingIntensities | None,
) -> dict[str, Any]:
    """Returns the description of an exported model.

    Args:
      model: What is exported.
      run_dir: Its run.
      checkpoint: 'best' or 'last'.
      intensities: Of the training, if they are known.
    """
    return {
        "signature": SIGNATURE,
        "inputs": _inputs(model, intensities),
        "outputs": {
            key: _output(key, output.shape[1], model.temperatures)
            for key, output in model.model.output.items()
        },
        "parameters": model.model.count_params(),
        "checkpoint": checkpoint,
        "run_flags": _run_flags(Path(run_dir)),
        "versions": {
            "cbed-tf": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def _inputs(model: AnsweringModel, intensities: TrainingIntensities | None) -> dict[str, Any]:
    patterns = {
        "dtype": "float32",
        "shape": [None, *model.image_shape],
        "axes": ["sample", "view", "height", "width"],
        "meaning": "raw intensities, neither scaled nor normalised, not negative",
    }
    if intensities is not None:
        patterns["largest_intensity_in_training"] = [intensities.dimmest, intensities.brightest]
    known = {
        name: {
            "dtype": "float32",
            "shape": [None, size],
            "unit": FIELD[name].unit if name in FIELD else "",
        }
        for name, size in model.known_sizes.items()
    }
    return {IMAGE: patterns, **known}


def _output(key: str, size: int, temperatures: dict[str, float]) -> dict[str, Any]:
    """Returns the description of one output, (samples, size)."""
    shape = {"shape": [None, size]}
    if key not in TARGETS and key.removesuffix(STD) in TARGETS:
        target = TARGETS[key.removesuffix(STD)]
        return {"kind": "standard deviations", "of": target.key, "unit": target.unit, **shape}
    target = TARGETS[key]
    if target.kind not in _KINDS:
        names = target.component_names(views=size) if size > 1 else ()
        return {"kind": "quantities", "unit": target.unit, **shape, "names": list(names)}
    described = {"kind": _KINDS[target.kind], **shape, "names": list(target.class_names)}
    return described | ({"temperature": temperatures[key]} if key in temperatures else {})


def _run_flags(run_dir: Path) -> list[str]:
    path = run_dir / runs.FLAGS_NAME
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.startswith("--")]
