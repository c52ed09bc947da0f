"""The page cache, where the kernel keeps files that were read: how much fits, and filling it."""

import mmap
from collections.abc import Sequence
from pathlib import Path

from cbed_tf.processes.progress import Progress

_CHUNK_BYTES = 16 * 2**20
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def available_bytes() -> int | None:
    """Returns how much memory files could fill now, or None where that is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return None
    entries = dict(line.split(":", 1) for line in lines)
    if "MemAvailable" not in entries:
        return None
    available = int(entries["MemAvailable"].split()[0]) * 1024
    try:
        return min(available, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no control groups, or "max"
        return available


def read_files(paths: Sequence[Path], total_bytes: int) -> None:
    """Reads files from start to end, so that what comes later finds them in memory.

    Args:
      paths: The files.
      total_bytes: All of them, for the progress bar.
    """
    buffer = memoryview(mmap.mmap(-1, _CHUNK_BYTES))  # aligned to a page
    with Progress("reading all once", total_bytes, "B") as progress:
        for path in paths:
            with open(path, "rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    progress.advance(count)
