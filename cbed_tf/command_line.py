"""Runs one `cbed` command: flags in, exit code out.

A command is a module with a docstring that opens with an example, a `FLAGS` of its own (so that
commands never clash over a name and refuse each other's flags) and a `main()` that reads them,
calls one plain function and returns an exit code. An `AFTER_INTERRUPTION` says how to go on after
Ctrl-C. What every command shares is here: parsing,
`--help`, error messages, Ctrl-C.
"""

import logging
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from absl import flags

from cbed_tf.errors import CbedError

OK = 0
FAILED = 1
USAGE = 2
REJECTED = 3
INTERRUPTED = 130
_ROOMS = ("cbed_tf", "pipelines", "models")
_HANDLER_NAME = "cbed"


class UsageError(CbedError):
    """A flag's value that cannot be used; names the flag."""


def run(name: str, command: ModuleType, argv: Sequence[str]) -> int:
    """Runs a command with the words after its name.

    Args:
      name: As the user typed it, 'convert'.
      command: Its module.
      argv: Its flags.

    Returns:
      OK, FAILED (could not be carried out), USAGE (wrong flags; nothing was done), REJECTED (done,
      but more samples were rejected than allowed) or INTERRUPTED.
    """
    program = f"cbed {name}"
    _log_to_stderr()
    try:
        if any(word in ("--help", "-h", "--helpfull", "-help") for word in argv):
            print(f"{command.__doc__.strip()}\n\nFlags:\n{describe_flags(command.FLAGS)}")
            return OK
        _parse(command.FLAGS, program, argv)
        return command.main() or OK
    except (flags.Error, UsageError) as error:
        _complain(program, f"{error}\n{program} --help shows every flag.")
        return USAGE
    except CbedError as error:
        _complain(program, error)
        return FAILED
    except KeyboardInterrupt:
        hint = getattr(command, "AFTER_INTERRUPTION", "")
        _complain(program, f"interrupted; {hint}" if hint else "interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def describe_flags(flag_values: flags.FlagValues) -> str:
    """Returns a paragraph for each flag: name, default, meaning."""
    lines = []
    for name in flag_values:
        flag = flag_values[name]
        default = "" if flag.default is None else f" (default {flag.default_as_str})"
        lines.append(f"  --{name}{default}\n      {flag.help}")
    return "\n".join(lines)


def _parse(flag_values: flags.FlagValues, program: str, argv: Sequence[str]) -> None:
    for name in flag_values:  # a second call in one process starts from the defaults
        flag_values[name].unparse()
    rest = flag_values([program, *argv])[1:]
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}: every option is a --flag=value")


def _log_to_stderr() -> None:
    """Shows the packages' log lines as they are; TensorFlow and others keep their own ways."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in [handler for handler in root.handlers if handler.name == _HANDLER_NAME]:
        root.removeHandler(handler)  # of an earlier call, perhaps to another stderr
    handler = logging.StreamHandler()
    handler.name = _HANDLER_NAME
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(lambda line: line.name.partition(".")[0] in _ROOMS)
    root.addHandler(handler)


def _complain(program: str, message: object) -> None:
    print(f"{program}: {message}", file=sys.stderr)
