"""What one process of the benchmark does: builds files, checks a batch, or measures a speed.

    python -m benchmarks.peers.measurement build|check|measure JSON_OF_TASK RESULT_FILE

A process for each, so that libraries, threads and the state of malloc of one do not meet another.
"""

import itertools
import json
import mmap
import sys
import time
from pathlib import Path

from benchmarks.peers.samples import archive_files, check_batch, list_samples
from benchmarks.peers.ways import ARCHIVE, WAYS

START_UP_BATCHES = 3
_CHUNK_BYTES = 16 * 2**20
_TOUCHED_BYTES = 2 * 2**30


def build(way, samples, folder):
    """Makes a way's files in an empty folder; returns seconds and bytes."""
    folder.mkdir(parents=True)
    start = time.perf_counter()
    way.build(samples, folder)
    return {"seconds": time.perf_counter() - start, "bytes": sum(map(size_of, files_in(folder)))}


def check(way, samples, folder, batch_size, scaled, workers):
    """Compares a batch with the archive; returns how many images that were."""
    images, space_groups = next(way.batches(samples, folder, batch_size, scaled, workers))
    return {"images": len(check_batch(samples, images, space_groups, scaled))}


def measure(way, samples, folder, batch_size, scaled, workers, seconds):
    """Returns samples/s, from the page cache, the first batches not counted."""
    fill_page_cache(archive_files(samples.archive) if way.files == ARCHIVE else files_in(folder))
    touch_memory()
    batches = way.batches(samples, folder, batch_size, scaled, workers)
    return {"samples_per_second": speed_of(batches, batch_size, seconds)}


def speed_of(batches, batch_size, seconds, clock=time.perf_counter):
    for _ in itertools.islice(batches, START_UP_BATCHES):
        pass
    start = clock()
    for count, _ in enumerate(batches, 1):
        elapsed = clock() - start
        if elapsed > seconds:
            return count * batch_size / elapsed
    raise AssertionError("batches do not end")


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def size_of(path):
    return path.stat().st_size


def fill_page_cache(paths):
    buffer = memoryview(mmap.mmap(-1, _CHUNK_BYTES))
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def touch_memory():
    """Has a virtual machine's host hand over memory before the clock starts, not after."""
    with mmap.mmap(-1, _TOUCHED_BYTES) as memory:
        for page in range(0, _TOUCHED_BYTES, mmap.PAGESIZE):
            memory[page] = 1


ACTIONS = {action.__name__: action for action in (build, check, measure)}


def main():
    action, task, result = sys.argv[1:]
    task = json.loads(task)
    samples = list_samples(task.pop("archive"))
    way, folder = WAYS[task.pop("way")], Path(task.pop("folder"))
    found = ACTIONS[action](way, samples, folder, **task)
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
