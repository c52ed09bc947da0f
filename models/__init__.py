"""Keras: tensors -> space group, cell, composition, energy; training, judging, using models.

The last of the three rooms: builds on `pipelines` and `cbed_tf`. The public names are imported when
they are first used, because TensorFlow takes seconds to import and `cbed train --help` needs none.
"""

import importlib
from typing import Any

_HOMES = {
    "AugmentedModel": "models.augmented",
    "build_model": "models.network",
    "Learner": "models.learner",
    "compile_model": "models.compiling",
    "TrainingOptions": "models.options",
    "train": "models.training",
    "evaluate": "models.evaluation",
    "predict": "models.prediction",
    "export_model": "models.export",
    "load_trained_model": "models.runs",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
