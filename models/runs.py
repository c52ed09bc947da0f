"""The folder of a training run: which files it holds, how it is claimed, how a model comes back.

RUN/run.flags            every setting; `cbed train --flagfile=RUN/run.flags --run_dir=RUN2`
RUN/log.csv              losses and metrics by epoch; `val_` are those of the dev split
RUN/best.keras           the model at its lowest dev loss (training loss where there is no dev)
RUN/last.keras           the model after its last epoch
RUN/training-curve.png
RUN/tensorboard/         for `tensorboard --logdir=RUN/tensorboard`
"""

import os
from pathlib import Path

import keras

import models.network  # noqa: F401  # registers the layers that a saved model names
from cbed_tf.errors import CbedError

FLAGS_NAME = "run.flags"
LOG_NAME = "log.csv"
CURVE_NAME = "training-curve.png"
TENSORBOARD_NAME = "tensorboard"
BEST = "best"
LAST = "last"
CHECKPOINTS = (BEST, LAST)


def checkpoint_path(run_dir: str | os.PathLike, checkpoint: str) -> Path:
    """Returns where a run keeps a model: BEST or LAST."""
    return Path(run_dir) / f"{checkpoint}.keras"


def claim_run_dir(run_dir: str | os.PathLike, flag_lines: list[str]) -> Path:
    """Makes the folder of a new run and writes its flagfile.

    Raises:
      CbedError: The folder already holds a run, or cannot be made.
    """
    run_dir = Path(run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        names = (LOG_NAME, *(checkpoint_path(run_dir, name).name for name in CHECKPOINTS))
        taken = [name for name in names if (run_dir / name).exists()]
        if taken:
            raise FileExistsError(f"{run_dir / taken[0]} exists")
        # Mode 'x' lets only one of two runs that start at once have the folder.
        with (run_dir / FLAGS_NAME).open("x") as stream:
            stream.write("\n".join(flag_lines) + "\n")
    except FileExistsError as error:
        raise CbedError(
            f"{run_dir} already holds a run, and nothing is overwritten: "
            f"choose another --run_dir or move it away ({error})"
        ) from error
    except OSError as error:
        raise CbedError(f"the run folder {run_dir} cannot be made: {error}") from error
    return run_dir


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
