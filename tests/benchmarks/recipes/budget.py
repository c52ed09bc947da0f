"""How many epochs fill a number of minutes: learning rates must know the end in advance.

Measures it on a training that is ended as soon as its pace is known.
"""

import csv
import dataclasses
import shutil
import time

from benchmarks.recipes.children import Child, check

# Far more than will be trained.
_EPOCHS = 100_000


@dataclasses.dataclass(frozen=True)
class Pace:
    """How long a training takes.

    Attributes:
      start_seconds: Until its first epoch begins.
      epoch_seconds: For an epoch with all that belongs to it: judging, saving.
    """

    start_seconds: float
    epoch_seconds: float

    def epochs(self, minutes):
        """Returns the number of epochs that comes nearest to so many minutes, at least 1."""
        return max(1, round((60 * minutes - self.start_seconds) / self.epoch_seconds))


def measure_pace(words, run_dir, log, minutes, least_seconds):
    """Trains until an epoch after the first one, and so many seconds after it, are over.

    The first epoch, in which TensorFlow traces and plans, counts as it is unless it alone fills the
    minutes.

    Args:
      words: The training but for --run_dir and --epochs.
      run_dir: New folder, removed afterwards.
      log: For its output.
      minutes: Of the trainings that are planned.
      least_seconds: More make it more exact.

    Raises:
      ChildError: It failed.
    """
    shutil.rmtree(run_dir, ignore_errors=True)
    words = [*words, f"--run_dir={run_dir}", f"--epochs={_EPOCHS}"]
    start, ends = time.monotonic(), []

    def is_known():
        if count_epochs(run_dir) > len(ends):
            ends.append(time.monotonic() - start)
        enough = len(ends) > 1 and ends[-1] - ends[0] >= least_seconds
        return enough or bool(ends and ends[0] >= 60 * minutes)

    child = Child(words, log)
    try:
        child.wait(watch=is_known)
        if child.code is not None:
            check(child)
    finally:
        child.kill()
    shutil.rmtree(run_dir, ignore_errors=True)
    return pace_of(ends)


def pace_of(ends):
    """Returns the pace of a training whose epochs ended after so many seconds."""
    if len(ends) == 1:
        return Pace(0.0, ends[0])
    epoch_seconds = (ends[-1] - ends[0]) / (len(ends) - 1)
    return Pace(max(0.0, ends[0] - epoch_seconds), epoch_seconds)


def count_epochs(run_dir):
    """Returns how many epochs a run has finished."""
    return len(read_log(run_dir))


def read_log(run_dir):
    """Returns the rows of a run's log.csv, none while there is no such file."""
    try:
        with open(run_dir / "log.csv", newline="") as stream:
            return list(csv.DictReader(stream))
    except FileNotFoundError:
        return []
