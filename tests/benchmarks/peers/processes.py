"""Runs one step of the benchmark in a process group of its own, and leaves nothing of it behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[2]
# A process that has its result may take so long to end, its helpers so long after it.
_END_SECONDS = 10.0
_POLL_SECONDS = 0.02


class StepError(Exception):
    """A step failed or took too long; the message says why."""


def run_step(action, task, limit_seconds):
    """Runs an action of `measurement` in a new process; returns what it found.

    Raises:
      StepError: It failed, or had no result after so many seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        words = [sys.executable, "-m", "benchmarks.peers.measurement"]
        words += [action, json.dumps(task), str(result)]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                words,
                env=step_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                ended = wait_for(
                    lambda: result.exists() or process.poll() is not None, limit_seconds
                )
                wait_for(lambda: process.poll() is not None, _END_SECONDS if ended else 0)
            finally:
                end_group(process)
        if not result.exists():
            reason = last_line(log.read_text(errors="replace"))
            raise StepError(reason if ended else f"no result after {limit_seconds:.0f} s; {reason}")
        return json.loads(result.read_text())


def step_environment():
    paths = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "",  # what feeds the device is measured, not the device
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def wait_for(condition, seconds):
    """Returns whether a condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def end_group(leader):
    """Ends a process and all that it started: asked first, killed if they do not follow.

    Those that only clean up after the leader (shared memory, for one) get the time to do so.
    """
    if leader.poll() is None:
        leader.kill()
        leader.wait()
    for number, seconds in ((None, 0.5), (signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(leader.pid, number)
        if wait_for(lambda: not members_of(leader.pid), seconds):
            return
    raise StepError(f"processes {members_of(leader.pid)} do not end")


def members_of(group):
    """Returns the living processes of a process group."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # After the name in parentheses: state, parent, group.
                state, _, member_of = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(member_of) == group and state not in "ZX":
                    found.append(int(folder.name))
    return found


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
