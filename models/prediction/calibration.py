"""Temperatures: how sure of itself a run's model may be, as its dev split shows.

A temperature T turns probabilities p into p**(1/T), normalised: above 1 it makes answers less sure,
below 1 surer, and it changes the order of none. `cbed evaluate` fits one for each target with
classes and keeps it in RUN/calibration.json, beside the checksum of the model that it was fitted
for: another model under the same name, after further training, has no use for it.
"""

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from crc32c import crc32c

from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError
from models.networks.probabilities import TINY
from models.saving.runs import checkpoint_path
from pipelines.targets import TARGETS

_LOG = logging.getLogger(__name__)

CALIBRATION_NAME = "calibration.json"
# A dev split on which every answer is right would ask for 0, one without any information for more.
LOWEST, HIGHEST = 0.1, 10.0
_HALVINGS = 30
_READ_BYTES = 1 << 20


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature under which labels are most likely, from LOWEST to HIGHEST.

    The likelihood has one maximum in 1/T, where the mean log-probability that the tempered answers
    expect equals that of the true classes.

    Args:
      probabilities: (samples, classes), at least one sample.
      labels: Class indices, (samples,).
    """
    logs = np.log(np.maximum(probabilities.astype(np.float64), TINY))
    logs -= logs.max(axis=1, keepdims=True)
    wanted = np.take_along_axis(logs, labels[:, None], axis=1).mean()
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _expected_log(logs, math.exp(middle)) < wanted:
            high = middle
        else:
            low = middle
    return math.exp((low + high) / 2)


def _expected_log(logs: np.ndarray, temperature: float) -> float:
    weights = np.exp(logs / temperature)
    return float(np.mean((weights * logs).sum(axis=1) / weights.sum(axis=1)))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns p**(1/T), normalised, in the dtype of the probabilities.

    Args:
      probabilities: (samples, classes), rows sum to 1.
      temperature: From LOWEST to HIGHEST.
    """
    tempered = probabilities.astype(np.float64) ** (1 / temperature)
    return (tempered / tempered.sum(axis=1, keepdims=True)).astype(probabilities.dtype)


def save_temperatures(
    run_dir: str | os.PathLike,
    checkpoint: str,
    temperatures: Mapping[str, float],
    model_crc32c: str | None = None,
) -> None:
    """Writes the temperatures of one of a run's models, keeping those of the other.

    Args:
      run_dir: The run.
      checkpoint: 'best' or 'last'.
      temperatures: By target key.
      model_crc32c: From `model_checksum`, of the model that they were fitted to; by default the one
        that is there now.

    Raises:
      OSError: The file cannot be written.
    """
    entry = {
        "model_crc32c": model_crc32c or model_checksum(run_dir, checkpoint),
        "temperatures": dict(temperatures),
    }
    entries = {**_read_entries(run_dir), checkpoint: entry}
    content = json.dumps(entries, indent=1) + "\n"
    write_atomically(Path(run_dir) / CALIBRATION_NAME, content.encode())


def load_temperatures(
    run_dir: str | os.PathLike, checkpoint: str, model_crc32c: str | None = None
) -> dict[str, float]:
    """Returns the temperatures of one of a run's models by target key; empty if there are none.

    Those of another model, which had the name before, do not count.

    Args:
      run_dir: The run.
      checkpoint: 'best' or 'last'.
      model_crc32c: From `model_checksum`, of the model; by default the one that is there now.

    Raises:
      CbedError: The file is damaged.
    """
    entry = _read_entries(run_dir).get(checkpoint)
    if entry is None:
        return {}
    try:
        if entry["model_crc32c"] != (model_crc32c or model_checksum(run_dir, checkpoint)):
            _LOG.warning(
                "%s is of another %s model and not used: cbed evaluate fits temperatures anew",
                Path(run_dir) / CALIBRATION_NAME, checkpoint,
            )  # fmt: skip
            return {}
        return {key: _checked(key, value) for key, value in entry["temperatures"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(run_dir, error) from error


def _read_entries(run_dir: str | os.PathLike) -> dict[str, Any]:
    try:
        entries = json.loads((Path(run_dir) / CALIBRATION_NAME).read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _damaged(run_dir, error) from error
    if not isinstance(entries, dict):
        raise _damaged(run_dir, "it is no object")
    return entries


def _checked(key: str, value: Any) -> float:
    if key not in TARGETS or not LOWEST <= value <= HIGHEST:
        raise ValueError(f"{key!r} has temperature {value!r}, should be {LOWEST} to {HIGHEST}")
    return float(value)


def _damaged(run_dir: str | os.PathLike, reason: object) -> CbedError:
    path = Path(run_dir) / CALIBRATION_NAME
    return CbedError(f"{path} is damaged ({reason}): delete it, cbed evaluate makes it again")


def model_checksum(run_dir: str | os.PathLike, checkpoint: str) -> str:
    """Returns what tells one of a run's models from another that has or had its name."""
    value = 0
    with checkpoint_path(run_dir, checkpoint).open("rb") as stream:
        while chunk := stream.read(_READ_BYTES):
            value = crc32c(chunk, value)
    return f"{value:08x}"
