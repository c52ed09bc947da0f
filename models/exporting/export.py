"""Writes a run's model as a SavedModel for programs that have TensorFlow and nothing else."""

import contextlib
import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from cbed_tf.durable import sync_folder, temporary_path
from cbed_tf.errors import CbedError
from models.exporting import export_check, export_description, saved_model
from models.prediction import training_intensities
from models.prediction.answering import load_answering_model
from models.saving import runs

_LOG = logging.getLogger(__name__)

_BATCH_SIZES = (1, 32)


@dataclasses.dataclass(frozen=True)
class Export:
    """What was written, and how it does.

    Attributes:
      path: The SavedModel.
      size_bytes: Of all its files.
      parameters: Numbers that were learned.
      temperatures: That its probabilities are calibrated with, by target key.
      difference: From the answers of the run's model at most, in parts of an output's spread.
      device: What the times were taken on.
      latencies: For each batch size.
    """

    path: Path
    size_bytes: int
    parameters: int
    temperatures: dict[str, float]
    difference: float
    device: str
    latencies: tuple[export_check.Latency, ...]


def export_model(
    run_dir: str | os.PathLike,
    output_path: str | os.PathLike,
    checkpoint: str = runs.BEST,
    calibrated: bool = True,
) -> Export:
    """Writes a run's model as a SavedModel, and checks that it answers the same.

    Args:
      run_dir: A run of `train`.
      output_path: New folder; it appears when all in it is written and checked.
      checkpoint: 'best' or 'last'.
      calibrated: Apply the temperatures that `evaluate` has fitted, if it has, as `predict` does.

    Raises:
      CbedError: There is no such model, the folder exists already or cannot be written, or the
        exported model answers something else.
    """
    output_path = Path(output_path)
    if output_path.exists():
        raise CbedError(
            f"{output_path} exists, and nothing is overwritten: move it or choose another"
        )
    model = load_answering_model(run_dir, checkpoint, calibrated)
    intensities = training_intensities.load(run_dir)
    description = export_description.describe(model, run_dir, checkpoint, intensities)
    with _new_folder(output_path) as folder:
        _LOG.info("writing the model")
        saved_model.write_saved_model(model, folder)
        text = json.dumps(description, indent=1) + "\n"
        (folder / export_description.NAME).write_text(text)
        _LOG.info("checking its answers")
        ask = saved_model.load_saved_model(folder)
        difference = export_check.check_equal(model, ask, intensities)
        latencies = export_check.measure_latency(model, ask, _BATCH_SIZES)
    return Export(
        output_path,
        saved_model.size_bytes(output_path),
        model.model.count_params(),
        dict(model.temperatures),
        difference,
        export_check.device_name(),
        latencies,
    )


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Makes a folder that gets its name when the block ends without error, or leaves nothing.

    Raises:
      CbedError: It cannot be written.
    """
    temporary = temporary_path(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in names:
                _sync_file(Path(folder, name))
            sync_folder(Path(folder))
        temporary.rename(path)
        sync_folder(path.parent)
    except (OSError, tf.errors.OpError) as error:  # TensorFlow has errors of its own
        raise CbedError(f"{path} cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
