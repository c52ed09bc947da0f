"""cbed train --data_dir=dataset --run_dir=runs/first --targets=space_group,abc_angstrom

Trains a model on a data set. The run folder then holds the best and the last model, log.csv,
training-curve.png, TensorBoard events, and run.flags, which repeats the run:

cbed train --flagfile=runs/first/run.flags --run_dir=runs/again
"""

import dataclasses

from absl import flags

from cbed_tf.command_line import UsageError
from cbed_tf.errors import CbedError
from models import options
from models.options import TrainingOptions as Defaults

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "data_dir", None, "Data set of cbed convert: folder or URL.", required=True, flag_values=FLAGS
)
flags.DEFINE_string(
    "run_dir", None, "New folder for models and logs.", required=True, flag_values=FLAGS
)
flags.DEFINE_list(
    "targets",
    list(Defaults.targets),
    "What to learn: any of space_group, crystal_system, point_group, energy_keV, d_hkls_angstrom, "
    "abc_angstrom, angles_degree, composition, with commas between.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "target_weights",
    [],
    "What to multiply losses by, like space_group:2,energy_keV:0.5; 1 for the others.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "backbone",
    Defaults.backbone,
    "Encoder of a pattern: small (for CPUs and first looks) or resnet50.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "scaling",
    Defaults.scaling,
    "First layer, on raw intensities: power, log or none.",
    flag_values=FLAGS,
)
flags.DEFINE_float("exponent", Defaults.exponent, "Of --scaling=power.", flag_values=FLAGS)
flags.DEFINE_float(
    "floor", Defaults.floor, "Of --scaling=log: anything below counts as this.", flag_values=FLAGS
)
flags.DEFINE_list(
    "augment",
    [],
    "How to change training samples at random: usual (all but mixup), or any of rotation, mirror, "
    "shift, ellipticity, permutation, noise, erasing, mixup, with commas between; each perhaps "
    "with its strength, like rotation:15,noise:1e5. cbed preview shows what it does.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "epochs", Defaults.epochs, "Passes over the training split.", flag_values=FLAGS
)
flags.DEFINE_integer("batch_size", Defaults.batch_size, "Samples a step.", flag_values=FLAGS)
flags.DEFINE_float("learning_rate", Defaults.learning_rate, "Of AdamW.", flag_values=FLAGS)
flags.DEFINE_float("weight_decay", Defaults.weight_decay, "Of AdamW.", flag_values=FLAGS)
flags.DEFINE_enum(
    "schedule",
    Defaults.schedule,
    options.SCHEDULES,
    "Learning rate: a short rise, then down to 0 along a cosine; or constant.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "class_weights",
    Defaults.class_weights,
    options.CLASS_WEIGHTS,
    "balanced lets a rare class weigh as much in the loss as a frequent one.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "mixed_precision",
    Defaults.mixed_precision,
    "Compute in float16 where that is safe; for GPUs.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "deterministic",
    Defaults.deterministic,
    "Choose operations that give the same bits in every run on the same machine.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("seed", Defaults.seed, "Of weights and order.", flag_values=FLAGS)
flags.DEFINE_enum(
    "reader",
    Defaults.reader,
    (*options.READERS, options.AUTO_READER),
    "How shards are read: gather for local files, stream for URLs; auto chooses.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "balance",
    Defaults.balance,
    "0 draws space groups as often as they occur, 1 all equally often, 0.5 in between.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "shuffle_block",
    Defaults.shuffle_block,
    "Keep so many samples together that are neighbours on the disk, for disks that hate random "
    "reads; 0 shuffles truly.",
    flag_values=FLAGS,
)


def options_from_flags() -> options.TrainingOptions:
    """Returns the flags as options; `TrainingOptions.as_flags` is the way back.

    Raises:
      UsageError: A value cannot be used.
    """
    values = {field.name: FLAGS[field.name].value for field in dataclasses.fields(Defaults)}
    try:
        parsed = {
            "targets": tuple(values["targets"]),
            "target_weights": options.parse_target_weights(values["target_weights"]),
            "augment": options.parse_augment(values["augment"]),
        }
        return options.TrainingOptions(**{**values, **parsed})
    except CbedError as error:
        raise UsageError(f"--{error}") from error


def main() -> None:
    """Trains."""
    chosen = options_from_flags()
    from models.training import train  # TensorFlow; --help and wrong flags should not wait for it

    train(FLAGS.data_dir, FLAGS.run_dir, chosen)
