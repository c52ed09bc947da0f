"""Keras: tensors -> space group, cell, composition, energy; training, judging, using models.

The last of the three packages: builds on `pipelines` and `cbed_tf`. The public names are imported
when they are first used, as TensorFlow takes seconds to import and `cbed train --help` needs none.
"""

import importlib
from typing import Any

_HOMES = {
    "AugmentedModel": "models.learning.augmented",
    "build_model": "models.networks.network",
    "Learner": "models.learning.learner",
    "compile_model": "models.learning.compiling",
    "TrainingOptions": "models.learning.options",
    "train": "models.training.train",
    "evaluate": "models.evaluation",
    "predict": "models.prediction.predict",
    "export_model": "models.exporting.export",
    "load_trained_model": "models.saving.runs",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
