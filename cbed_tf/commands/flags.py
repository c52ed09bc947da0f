"""Flags that several commands of this package define, each in its own FlagValues."""

from absl import flags


def define_input_dir(flag_values: flags.FlagValues, required: bool = True) -> None:
    """Defines --input_dir, an archive."""
    flags.DEFINE_string(
        "input_dir",
        None,
        "The archive: a folder with batch_{train,dev,test}_{k}.h5 files in it or below it.",
        required=required,
        flag_values=flag_values,
    )


def define_workers(flag_values: flags.FlagValues) -> None:
    """Defines --workers."""
    flags.DEFINE_integer(
        "workers",
        None,
        "Number of processes; as many as there are processors if not given.",
        lower_bound=1,
        flag_values=flag_values,
    )


def define_swmr(flag_values: flags.FlagValues) -> None:
    """Defines --swmr."""
    flags.DEFINE_boolean(
        "swmr",
        False,
        "Open HDF5 files in single-writer multiple-reader mode.",
        flag_values=flag_values,
    )
