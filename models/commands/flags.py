"""Flags that commands share which use a finished run."""

from absl import flags


def define_run_dir(flag_values: flags.FlagValues) -> None:
    """Defines --run_dir, a finished or running training."""
    flags.DEFINE_string(
        "run_dir", None, "Folder of a run of cbed train.", required=True, flag_values=flag_values
    )


def define_checkpoint(flag_values: flags.FlagValues) -> None:
    """Defines --checkpoint, which of a run's models."""
    flags.DEFINE_enum(
        "checkpoint",
        "best",
        ("best", "last"),
        "The run's model with the lowest dev loss, or the one after its last epoch.",
        flag_values=flag_values,
    )


def define_calibrated(flag_values: flags.FlagValues) -> None:
    """Defines --calibrated, whether probabilities may be taken at their word."""
    flags.DEFINE_bool(
        "calibrated",
        True,
        "Calibrate probabilities by the temperatures that cbed evaluate has fitted, if it has.",
        flag_values=flag_values,
    )


def define_batch_size(flag_values: flags.FlagValues) -> None:
    """Defines --batch_size, which changes no answer."""
    flags.DEFINE_integer(
        "batch_size",
        32,
        "Samples at a time; more is quicker and takes more memory.",
        lower_bound=1,
        flag_values=flag_values,
    )
