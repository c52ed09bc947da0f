"""The C library keeps what is freed, where it is one that can."""

import platform
import subprocess
import sys

import pytest

_COUNT_FAULTS = """
import resource, sys, threading
from pipelines.reading.memory import keep_freed_memory

def fill(times):
    for _ in range(times):
        b"x" * (48 * 2**20)  # beyond what glibc keeps by itself

if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=fill, args=(20,))
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_not_paid_for_again():
    def faults(how):
        words = [sys.executable, "-c", _COUNT_FAULTS, how]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1])

    assert faults("keep") * 3 < faults("leave")
