"""cbed train --data_dir=dataset --run_dir=runs/first --targets=space_group,abc_angstrom

Trains a model on a data set. The run folder then holds the best and the last model, log.csv,
training-curve.png, TensorBoard events, and run.flags, which repeats the run:

cbed train --flagfile=runs/first/run.flags --run_dir=runs/again

A run that was interrupted in whatever way, kill -9 included, goes on with the same command, as if
nothing had happened. Ctrl-C and SIGTERM save what there is first.
"""

import dataclasses
import sys

from absl import flags

from cbed_tf.command_line import UsageError
from cbed_tf.errors import CbedError
from models.distribution.launching import LocalWorkers
from models.learning import options
from models.learning.option_fields import define_flags

AFTER_INTERRUPTION = "the same command goes on where this one stopped"
FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "data_dir", None, "Data set of cbed convert: folder or URL.", required=True, flag_values=FLAGS
)
flags.DEFINE_string(
    "run_dir",
    None,
    "Folder for models and logs: a new one, or that of an unfinished run.",
    required=True,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "local_workers",
    1,
    "Try out --strategy=multi_worker with so many processes on this machine.",
    lower_bound=1,
    flag_values=FLAGS,
)
define_flags(options.TrainingOptions, FLAGS)


def options_from_flags() -> options.TrainingOptions:
    """Returns the flags as options; `TrainingOptions.as_flags` is the way back.

    Raises:
      UsageError: A value cannot be used.
    """
    values = {
        field.name: FLAGS[field.name].value for field in dataclasses.fields(options.TrainingOptions)
    }
    try:
        parsed = {
            "targets": tuple(values["targets"]),
            "inputs": tuple(values["inputs"]),
            "target_weights": options.parse_target_weights(values["target_weights"]),
            "augment": options.parse_augment(values["augment"]),
        }
        return options.TrainingOptions(**{**values, **parsed})
    except CbedError as error:
        raise UsageError(f"--{error}") from error


def main() -> int | None:
    """Trains, or has other processes train."""
    chosen = options_from_flags()
    if FLAGS.local_workers > 1:
        return launch(chosen, FLAGS.local_workers)
    from models.training.train import (
        train,  # TensorFlow; --help and wrong flags should not wait for it
    )

    train(FLAGS.data_dir, FLAGS.run_dir, chosen)
    return None


def launch(chosen: options.TrainingOptions, workers: int) -> int:
    """Starts this command so many times; returns an exit code."""
    if chosen.strategy == "mirrored":
        raise UsageError("--local_workers is for --strategy=multi_worker, not for mirrored")
    chosen = dataclasses.replace(chosen, strategy="multi_worker")
    folders = [f"--data_dir={FLAGS.data_dir}", f"--run_dir={FLAGS.run_dir}"]
    command = [sys.executable, "-m", "cbed_tf", "train", *folders, *chosen.as_flags()]
    return LocalWorkers(command, workers).wait()
