"""Runs the same function over many tasks in several processes, and survives a process that dies.

Owns processes and nothing of the work: functions and tasks come from `scan`, `convert`, `inspect`
and `verify`, must be picklable, and need not know where they run. A worker imports no TensorFlow,
ends when its parent dies in whatever way, and stops between two steps when the parent asks.
"""

import contextlib
import enum
import functools
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from multiprocessing import connection
from typing import Any

from cbed_tf.errors import CbedError
from cbed_tf.processes.progress import Progress

_POLL_SECONDS = 0.2
# A task that crashes its process does so again; one whose process is killed from outside (by hand,
# by a machine short of memory) is innocent until that has happened unreasonably often.
_CRASHES_ALONE = 2
_KILLS_ALONE = 6
# Damaged files can send the HDF5 library into an endless loop. Processor time, not time: a step
# that takes milliseconds may wait minutes for a disk, and must.
_STEP_CPU_SECONDS = 10.0
# `run_tasks` below, or one of the same interface that gives the tasks to many machines.
RunTasks = Callable[
    [Callable[[Any], Any], Sequence[Any], int, Progress | None], Iterator[tuple[int, Any]]
]
# Where a task's progress goes; set in workers only, by whatever runs the task. Raises `Stopped`.
reporter: ContextVar[Callable[[int], None]] = ContextVar("reporter", default=lambda count: None)


class Crashed:
    """Stands for the result of a task whose process died under it whenever it was tried.

    A process also dies when it computes for ten seconds without a call of `advance`.
    """


class _Death(enum.Enum):
    CRASHED = enum.auto()
    KILLED = enum.auto()


class Stopped(Exception):
    """Raised inside a task when the run is being ended."""


def default_workers() -> int:
    """Returns the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def advance(count: int) -> None:
    """Reports progress from within a task, and ends the task if the run is being ended."""
    reporter.get()(count)


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yields (position of the task, result) as tasks are finished, in any order.

    Args:
      function: Called with one task in some process; what it raises is raised here and ends
        the run.
      tasks: Its arguments.
      workers: Number of processes.
      progress: Advanced by what the tasks report through `advance`.

    When a process dies (a crash within the HDF5 library, a kill), the tasks that it may have been
    at are tried again, each alone; one that keeps killing its process has a `Crashed` for result.
    """
    waiting = list(range(len(tasks)))
    while waiting:
        finished: set[int] = set()
        death = yield from _run_pool(function, tasks, waiting, workers, progress, finished)
        waiting = [position for position in waiting if position not in finished]
        if death is None:
            continue
        # Tasks are handed out in order, one per worker and one more in the queue.
        suspects, waiting = waiting[: workers + 1], waiting[workers + 1 :]
        for position in suspects:
            yield from _run_alone(function, tasks, position, progress)


def _run_alone(
    function: Callable[[Any], Any], tasks: Sequence[Any], position: int, progress: Progress | None
) -> Iterator[tuple[int, Any]]:
    crashes = kills = 0
    while crashes < _CRASHES_ALONE and kills < _KILLS_ALONE:
        death = yield from _run_pool(function, tasks, [position], 1, progress, set())
        if death is None:
            return
        crashes += death is _Death.CRASHED
        kills += death is _Death.KILLED
    yield position, Crashed()


def _run_pool(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    positions: Sequence[int],
    workers: int,
    progress: Progress | None,
    finished: set[int],
) -> Generator[tuple[int, Any], None, _Death | None]:
    """Yields results of some tasks; returns how a process died, None if none did."""
    # Not fork: the parent has threads (the progress bar), and may have HDF5 or TensorFlow loaded.
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Value("b", 0, lock=False)
    started = context.Value("b", 0, lock=False)
    pool = ProcessPoolExecutor(
        min(workers, len(positions)), context, _start_worker, (counter, stop, started)
    )
    others = multiprocessing.active_children()
    try:
        with _hidden_main(), _delayed_ctrl_c():
            running: dict[Future, int] = {pool.submit(function, tasks[p]): p for p in positions}
        processes = [child for child in multiprocessing.active_children() if child not in others]
        while running:
            done, _ = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
            _move(progress, counter)
            for future in done:
                position = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool as error:
                    death = _cause_of_death(pool, processes)
                    if not started.value and death is not _Death.KILLED:
                        raise CbedError("the worker processes do not start, see above") from error
                    return death
                finished.add(position)
                yield position, result
        return None
    finally:
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)
        _move(progress, counter)


def _cause_of_death(
    pool: ProcessPoolExecutor, processes: Sequence[multiprocessing.Process]
) -> _Death:
    pool.shutdown(wait=True, cancel_futures=True)
    # The pool itself ends the survivors with SIGTERM.
    causes = {process.exitcode for process in processes} - {0, -signal.SIGTERM}
    return _Death.KILLED if causes <= {-signal.SIGKILL} else _Death.CRASHED


def _move(progress: Progress | None, counter: Any) -> None:
    with counter.get_lock():
        count, counter.value = counter.value, 0
    if progress is not None and count:
        progress.advance(count)


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Keeps new processes from importing the caller's script, which they never need.

    Without it a script or notebook that calls `convert_archive` outside of
    `if __name__ == "__main__"` would start itself again in every worker.
    """
    main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _delayed_ctrl_c() -> Iterator[None]:
    """Holds Ctrl-C back while processes start, which inherit that and never see it.

    A terminal sends Ctrl-C to all processes. One that was still importing would die of it with a
    traceback, before any line of ours could have it ignored; and the parent decides when to end.
    """
    if threading.current_thread() is not threading.main_thread():  # Python interrupts only that one
        yield
        return
    # The mask is for the children; the parent's other threads take a Ctrl-C in spite of it.
    interruptions: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: interruptions.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if interruptions and callable(handler):  # it may be ignored, as in a shell's background
        handler(signal.SIGINT, None)


def _start_worker(counter: Any, stop: Any, started: Any) -> None:
    reporter.set(functools.partial(_count, counter, stop))
    started.value = 1
    limit_step()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _count(counter: Any, stop: Any, count: int) -> None:
    limit_step()
    with counter.get_lock():
        counter.value += count
    if stop.value:
        raise Stopped


def limit_step(cpu_seconds: float = _STEP_CPU_SECONDS) -> None:
    """Has the kernel end this process if its next step takes more processor time; 0 lifts that."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)


def _die_with_parent() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
