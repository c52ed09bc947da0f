"""The folder of a training run: which files it holds, how it is claimed, how a model comes back.

RUN/run.flags            every setting; `cbed train --flagfile=RUN/run.flags --run_dir=RUN2`
RUN/log.csv              losses, metrics and pace by epoch; `val_` are those of the dev split
RUN/best.keras           the model at its lowest dev loss (training loss where there is no dev)
RUN/last.keras           the model after its last epoch
RUN/training-curve.png
RUN/intensities.json     how bright the training's patterns are, to refuse scaled ones later
RUN/tensorboard/         for `tensorboard --logdir=RUN/tensorboard`
RUN/state.npz            all that an unfinished run needs to go on; gone when it is finished
RUN/run.json             what a finished run came to and cost
RUN/calibration.json     temperatures of best and last model (`calibration.py`), by `cbed evaluate`
RUN/report-test.html     and metrics-test.json, figures-test/, likewise
RUN/not-a-number.json    the batch behind which a loss or weight was no number, which ends a run
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras

import models.networks.network  # noqa: F401  # registers the layers that a saved model names
from cbed_tf.durable import remove_leftovers, write_atomically
from cbed_tf.errors import CbedError
from cbed_tf.folder_lock import locked

FLAGS_NAME = "run.flags"
LOG_NAME = "log.csv"
CURVE_NAME = "training-curve.png"
TENSORBOARD_NAME = "tensorboard"
STATE_NAME = "state.npz"
SUMMARY_NAME = "run.json"
NOT_A_NUMBER_NAME = "not-a-number.json"
BEST = "best"
LAST = "last"
CHECKPOINTS = (BEST, LAST)
# The folder may have been moved, and the machine may be another one.
_CHANGE_NOTHING = ("--run_dir", "--strategy", "--checkpoint_minutes")
TEMPORARY_SUFFIX = ".tmp.keras"  # keras insists on the last part


def checkpoint_path(run_dir: str | os.PathLike, checkpoint: str) -> Path:
    """Returns where a run keeps a model: BEST or LAST."""
    return Path(run_dir) / f"{checkpoint}.keras"


@contextlib.contextmanager
def claim_run_dir(run_dir: str | os.PathLike, flag_lines: Sequence[str]) -> Iterator[Path]:
    """Makes the folder of a new run with its flagfile, or takes up an unfinished one.

    No other training has the folder while the block runs.

    Args:
      run_dir: The folder; there may be none yet.
      flag_lines: '--name=value', and comments.

    Raises:
      CbedError: The folder holds a finished run or an unfinished one with other flags, another
        training has it, or it cannot be made.
    """
    run_dir = Path(run_dir)
    with contextlib.ExitStack() as stack:
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(run_dir, "training"))
            if not _holds_unfinished_run(run_dir, flag_lines):
                content = "\n".join(flag_lines) + "\n"
                write_atomically(run_dir / FLAGS_NAME, content.encode())
            remove_leftovers(run_dir)
            for leftover in run_dir.glob(f".*{TEMPORARY_SUFFIX}"):
                leftover.unlink()
        except OSError as error:
            raise CbedError(f"the run folder {run_dir} cannot be made: {error}") from error
        yield run_dir


def _holds_unfinished_run(run_dir: Path, flag_lines: Sequence[str]) -> bool:
    begun = (run_dir / FLAGS_NAME).exists()
    models_saved = (checkpoint_path(run_dir, name).name for name in CHECKPOINTS)
    names = (SUMMARY_NAME, LOG_NAME, *models_saved, STATE_NAME)
    taken = [name for name in names if (run_dir / name).exists()]
    unfinished = begun and (run_dir / STATE_NAME).exists() and SUMMARY_NAME not in taken
    if taken and not unfinished:
        raise CbedError(
            f"{run_dir} already holds a run, and nothing is overwritten: "
            f"choose another --run_dir or move it away ({taken[0]} is there)"
        )
    if unfinished:  # or else nothing has been trained yet
        _refuse_other_flags(run_dir, flag_lines)
    return unfinished


def _refuse_other_flags(run_dir: Path, flag_lines: Sequence[str]) -> None:
    there = _flag_values((run_dir / FLAGS_NAME).read_text().splitlines())
    here = _flag_values(flag_lines)
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if names:
        differences = ", ".join(
            f"{name}={there.get(name, '(none)')} there and {here.get(name, '(none)')} here"
            for name in names
        )
        raise CbedError(
            f"{run_dir} already holds an unfinished run with other flags: {differences}. The same "
            "flags go on with it; for others choose another --run_dir"
        )


def _flag_values(lines: Sequence[str]) -> dict[str, str]:
    flags = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in flags if name not in _CHANGE_NOTHING}


def load_trained_model(run_dir: str | os.PathLike, checkpoint: str = BEST) -> keras.Model:
    """Returns a run's model, for raw intensities; not compiled for further training.

    Raises:
      CbedError: The run has no such model, or its file cannot be read.
    """
    path = checkpoint_path(run_dir, checkpoint)
    if not path.exists():
        raise CbedError(f"{run_dir} holds no trained model {path.name}; is it a --run_dir?")
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CbedError(f"the model {path} cannot be read: {error}") from error
