"""The `cbed` command: a table of names that imports only the command that is called.

The one place where `cbed_tf` names the other packages, as text: an import would make
`cbed convert --help` wait for TensorFlow.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cbed_tf import __version__, command_line

COMMANDS = {
    "inspect": ("cbed_tf.commands.inspect", "what an archive holds, and whether it is sound"),
    "convert": ("cbed_tf.commands.convert", "HDF5 archive -> TFRecord data set"),
    "verify": ("cbed_tf.commands.verify", "re-reads a data set against checksums and archive"),
    "preview": ("pipelines.commands.preview", "pictures of what a model will be given"),
    "benchmark": ("models.commands.benchmark", "how fast this machine feeds and trains a model"),
    "train": ("models.commands.train", "trains a model on a data set"),
    "evaluate": ("models.commands.evaluate", "scores a run beside its baselines"),
    "predict": ("models.commands.predict", "raw patterns -> predictions.csv"),
    "export": ("models.commands.export", "a run's model -> SavedModel, for other programs"),
}


def usage() -> str:
    """Returns the overview of all commands."""
    rows = "\n".join(f"  {name:10} {summary}" for name, (_, summary) in COMMANDS.items())
    return f"cbed COMMAND --flag=value ...   (cbed-tf {__version__})\n\nCommands:\n{rows}\n\n" + (
        "cbed COMMAND --help shows an example and every flag."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ("--help", "-h", "help"):
        print(usage())
        return command_line.OK
    if words == ["--version"]:
        print(__version__)
        return command_line.OK
    if not words or words[0] not in COMMANDS:
        what = f"unknown command {words[0]!r}" if words else "which command?"
        print(f"cbed: {what}\n\n{usage()}", file=sys.stderr)
        return command_line.USAGE
    _quieten_tensorflow()
    module = importlib.import_module(COMMANDS[words[0]][0])
    return command_line.run(words[0], module, words[1:])


def _quieten_tensorflow() -> None:
    """Keeps TensorFlow from greeting each command with lines on GPUs that are not there."""
    has_gpu = Path("/dev/nvidiactl").exists()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1" if has_gpu else "3")


if __name__ == "__main__":
    sys.exit(main())
