"""Trains a model on a data set and leaves a run folder that reproduces it (see `runs.py`)."""

import contextlib
import json
import logging
import math
import os
import resource
from pathlib import Path

import keras
import tensorflow as tf

from cbed_tf import __version__
from cbed_tf.dataset.manifest import Manifest
from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError
from models.distribution.cluster import Cluster, read_cluster
from models.distribution.strategies import (
    MULTI_WORKER,
    all_agree,
    explain_failures,
    local_replicas,
    make_strategy,
)
from models.learning.options import TrainingOptions
from models.prediction import training_intensities
from models.reporting.display import Display
from models.reporting.reporting import NoReporting, Reporting, history_of
from models.saving import runs
from models.saving.checkpoints import Checkpoints
from models.saving.state import Progress, State, read_state
from models.training.loop import TrainingLoop
from models.training.making import make_models
from models.training.steps import Steps
from models.training.training_data import TrainingData
from pipelines.reading.remote import is_url, load_manifest

_LOG = logging.getLogger(__name__)


def train(
    data_dir: str | os.PathLike, run_dir: str | os.PathLike, options: TrainingOptions
) -> dict[str, list[float]]:
    """Trains a model, with the dev split as its judge where there is one.

    A run that was interrupted, in whatever way, goes on where it last saved its state, and takes
    the same steps as if nothing had happened.

    Args:
      data_dir: A data set of `cbed convert`: a folder, or a URL.
      run_dir: Folder of a new run, or of an unfinished one with the same options.
      options: How to train.

    Returns:
      Losses and metrics by name, one number an epoch, as in `log.csv`.

    Raises:
      CbedError: The data set has no training split or cannot be read, the folder holds another run,
        the loss became not a number, memory or disk is too small, or another machine was lost.
      KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved.
    """
    manifest = load_manifest(data_dir)
    manifest.split("train")
    cluster = read_cluster() if options.strategy == MULTI_WORKER else None
    flag_lines = _flag_lines(data_dir, run_dir, options)
    with contextlib.ExitStack() as stack:
        if cluster is None or cluster.is_chief:
            stack.enter_context(runs.claim_run_dir(run_dir, flag_lines))
        return explain_failures(
            cluster, lambda: _train(data_dir, Path(run_dir), options, manifest, cluster)
        )


def _train(
    data_dir: str | os.PathLike,
    run_dir: Path,
    options: TrainingOptions,
    manifest: Manifest,
    cluster: Cluster | None,
) -> dict[str, list[float]]:
    keras.utils.set_random_seed(options.seed)
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(options.strategy, cluster)
    data = TrainingData(data_dir, manifest, options, strategy, local_replicas(strategy))
    with strategy.scope():
        updates = options.epochs * math.ceil(data.steps / options.accumulate)
        model, fitted = make_models(manifest, options, updates)
    steps = Steps(fitted, strategy, data.element_spec)
    progress = _restore(run_dir, steps, data)
    is_chief = cluster is None or cluster.is_chief
    if is_chief:
        _save_intensities(run_dir, data_dir)
    checkpoints = Checkpoints(run_dir, fitted, model, options.checkpoint_minutes, is_chief)
    display = Display(options.epochs, data.samples)
    reporting = Reporting(run_dir, display) if is_chief else NoReporting()
    _LOG.info(
        "training %s (%s weights) on %d samples, on %s%s",
        model.name, f"{model.count_params():,}", data.samples, _device_name(strategy),
        _where(progress),
    )  # fmt: skip
    loop = TrainingLoop(run_dir, steps, data, options, progress, checkpoints, reporting)
    try:
        loop.run()
    finally:
        reporting.close(progress)
    if is_chief:
        _finish(run_dir, model, data, progress)
    return history_of(progress)


def _restore(run_dir: Path, steps: Steps, data: TrainingData) -> Progress:
    """Returns the progress of the run that the folder holds, its model restored, or a new one."""
    path = run_dir / runs.STATE_NAME
    values, progress = read_state(path) if path.exists() else ({}, Progress(data.fingerprint()))
    if progress.data != data.fingerprint():
        raise CbedError(
            f"{run_dir} holds an unfinished run on other data; choose another --run_dir"
        )
    position = progress.position
    if not all_agree(steps.strategy, position.epoch * data.steps + position.step):
        raise CbedError(
            f"the machines do not see the same {path}: --run_dir should be in a file system that "
            "they share"
        )
    if values:
        State(steps.fitted).restore(values)
    return progress


def _save_intensities(run_dir: Path, data_dir: str | os.PathLike) -> None:
    intensities = training_intensities.measure(data_dir)
    try:
        training_intensities.save(run_dir, intensities)
    except OSError as error:
        raise CbedError(f"the run folder {run_dir} cannot be written: {error}") from error


def _where(progress: Progress) -> str:
    position = progress.position
    if not (position.epoch or position.step):
        return ""
    return f"; going on after {position.epoch} epochs and {position.step} steps"


def _finish(run_dir: Path, model: keras.Model, data: TrainingData, progress: Progress) -> None:
    """Says what the run came to; without a state, it is finished."""
    summary = {
        "epochs": len(progress.rows),
        "best_epoch": progress.best_epoch,
        "judged_by": data.judged_by,
        "best": progress.best,
        "weights": model.count_params(),
        "samples": data.samples,
        "steps_per_epoch": data.steps,
        "seconds": sum(row["seconds"] for row in progress.rows),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        **_gpu_memory(),
    }
    content = json.dumps(summary, indent=1) + "\n"
    try:
        write_atomically(run_dir / runs.SUMMARY_NAME, content.encode())
        (run_dir / runs.STATE_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise CbedError(
            f"{error}. Once that is mended, the same command finishes the run"
        ) from error
    _LOG.info(
        "lowest %s %.4g in epoch %d; models, log and curve are in %s",
        summary["judged_by"], progress.best, progress.best_epoch, run_dir,
    )  # fmt: skip


def _gpu_memory() -> dict[str, int]:
    if not tf.config.list_physical_devices("GPU"):
        return {}
    return {"peak_gpu_memory_bytes": tf.config.experimental.get_memory_info("GPU:0")["peak"]}


def _flag_lines(
    data_dir: str | os.PathLike, run_dir: str | os.PathLike, options: TrainingOptions
) -> list[str]:
    return [
        "# Repeat with: cbed train --flagfile=THIS_FILE --run_dir=ANOTHER_FOLDER",
        f"# cbed-tf {__version__}, tensorflow {tf.__version__}, keras {keras.__version__}, "
        f"on {_device_name()}",
        f"--data_dir={data_dir if is_url(data_dir) else os.path.abspath(data_dir)}",
        f"--run_dir={os.path.abspath(run_dir)}",
        *options.as_flags(),
    ]


def _device_name(strategy: tf.distribute.Strategy | None = None) -> str:
    gpus = tf.config.list_physical_devices("GPU")
    name, number = f"{os.cpu_count()} CPU cores", strategy.num_replicas_in_sync if strategy else 1
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        name = details.get("device_name", "GPU")
    return f"{number} x {name}" if number > 1 else name
