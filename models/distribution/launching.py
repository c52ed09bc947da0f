"""Several workers on this machine, to try out what several machines would do."""

import ctypes
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cbed_tf.command_line import INTERRUPTED, OK
from cbed_tf.errors import CbedError
from models.distribution.cluster import Cluster

_LOG = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# After one has ended badly the others need some ten seconds to notice, and then say so themselves.
_SECONDS_TO_NOTICE = 40.0
_SET_PARENT_DEATH_SIGNAL = 1
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class LocalWorkers:
    """Processes of the same command that train together on this machine.

    The first one has the terminal to itself; what the others say comes with their number.

    Args:
      command: To be run, with its arguments, by each.
      number: How many.

    Raises:
      CbedError: There are GPUs, and fewer than workers.
    """

    def __init__(self, command: Sequence[str], number: int):
        self._processes: list[subprocess.Popen] = []
        self._is_interrupted = False
        environments = list(_environments(number))
        for index, environment in enumerate(environments):
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stderr=subprocess.PIPE if index else None,
                start_new_session=True,  # a terminal's Ctrl-C comes once, by way of this process
                preexec_fn=_end_with_parent,
            )
            self._processes.append(process)
            if index:
                threading.Thread(target=_pass_on, args=(process, index), daemon=True).start()

    def wait(self) -> int:
        """Waits until all have ended, hands signals on to them; returns an exit code."""
        heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._hand_on) for number in heeded}
        try:
            return self._wait()
        finally:
            for process in self._processes:
                process.kill()
                process.wait()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _wait(self) -> int:
        deadline = None
        while any(code is None for code in self._codes()):
            if deadline is None and any(self._codes()):
                deadline = time.monotonic() + _SECONDS_TO_NOTICE
            if deadline is not None and time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if self._is_interrupted:
            return INTERRUPTED
        failed = [code for code in self._codes() if code]
        for index, code in enumerate(self._codes()):
            if code is not None and code < 0:
                _LOG.info("worker %d was ended by %s", index, signal.Signals(-code).name)
        return (failed[0] if failed[0] > 0 else 1) if failed else OK

    def _codes(self) -> list[int | None]:
        return [process.poll() for process in self._processes]

    def _hand_on(self, number: int, frame: object) -> None:
        self._is_interrupted = True
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


def _environments(number: int) -> Iterator[dict[str, str]]:
    gpus = usable_gpus(os.environ.get(_VISIBLE), len(list(Path("/dev").glob("nvidia[0-9]*"))))
    if gpus and len(gpus) < number:
        raise CbedError(f"local_workers is {number}, but there are {len(gpus)} GPU(s)")
    addresses = tuple(f"localhost:{port}" for port in _free_ports(number))
    for index in range(number):
        yield {
            "TF_CONFIG": Cluster(addresses, index).as_tf_config(),
            "TF_NUM_INTRAOP_THREADS": str(max(1, (os.cpu_count() or 1) // number)),
            _VISIBLE: ",".join(gpus[index::number]),
        }


def usable_gpus(visible: str | None, present: int) -> list[str]:
    """Returns what CUDA calls the GPUs that this process may use.

    Args:
      visible: Its CUDA_VISIBLE_DEVICES, if that is set: numbers or names, up to one that is none.
      present: How many there are. CUDA counts them from 0, whatever their device files are called.
    """
    if visible is None or not present:
        return [str(number) for number in range(present)]
    names = (name.strip() for name in visible.split(","))
    return list(itertools.takewhile(lambda name: name and not name.startswith("-"), names))


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _pass_on(process: subprocess.Popen, index: int) -> None:
    for line in process.stderr:
        sys.stderr.write(f"worker {index}: {line.decode(errors='replace')}")
