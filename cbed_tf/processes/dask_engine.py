"""Runs the same function over many tasks on a Dask cluster: on this machine, or on many.

Owns the tasks on the cluster and nothing of the work: `connect` gives a function with the interface
of `engine.run_tasks`. A lost worker's tasks go to others. Every machine must have this package, and
see archive and output folder under the same paths.
"""

import contextlib
import dataclasses
import functools
import itertools
import queue
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cbed_tf.processes import engine
from cbed_tf.processes.dask_cluster import Cluster, connection, find_cluster, start_cluster
from cbed_tf.processes.progress import Progress

if TYPE_CHECKING:
    from distributed import Future

# Enough to keep a worker busy while results travel, few enough for any scheduler's memory.
_TASKS_PER_THREAD = 4
_SECONDS_BETWEEN_LOOKS = 5.0


@contextlib.contextmanager
def connect(scheduler: str | None = None, workers: int | None = None) -> Iterator[engine.RunTasks]:
    """Connects to a cluster; gives what runs tasks on it, for as long as the context lasts.

    Args:
      scheduler: Its address ('tcp://host:8786'), or the path of the .json file that it writes; None
        starts a cluster on this machine, and stops it at the end.
      workers: Number of processes of that one; as many as there are processors by default.

    Raises:
      CbedError: `distributed` is not installed, no scheduler answers, or a machine has another
        version of this package, or none.
    """
    if scheduler is None:
        opened = start_cluster(workers or engine.default_workers())
    else:
        opened = find_cluster(scheduler)
    with opened as cluster:
        yield functools.partial(_run_tasks, cluster)


def _run_tasks(
    cluster: Cluster,
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Any]]:
    """Does what `engine.run_tasks` does, on as many `workers` as the cluster has at the moment."""
    run = _Run(cluster, function, tasks, progress)
    suspects = []
    for position, result in run.results(range(len(tasks))):
        if isinstance(result, engine.Crashed):
            suspects.append(position)  # perhaps only queued behind the task that kills workers
        else:
            yield position, result
    for position in suspects:
        yield from run.results([position])


@dataclasses.dataclass(frozen=True)
class _Run:
    """A function and its tasks on a cluster; `running` are those submitted, with positions."""

    cluster: Cluster
    function: Callable[[Any], Any]
    tasks: Sequence[Any]
    progress: Progress | None
    running: "dict[Future, int]" = dataclasses.field(default_factory=dict)
    ended: "queue.SimpleQueue[Future]" = dataclasses.field(default_factory=queue.SimpleQueue)

    def results(self, positions: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yields (position, result) of some tasks; what one of them raises is raised here."""
        waiting = iter(positions)
        try:
            self._submit_some(waiting)
            while self.running:
                future = self._next_ended()
                position = self.running.pop(future)
                result = self._result_of(future)
                self._submit_some(waiting)
                yield position, result
        finally:
            self.cluster.client.cancel(list(self.running))

    def _submit_some(self, waiting: Iterator[int]) -> None:
        room = max(1, _TASKS_PER_THREAD * self.cluster.count_threads()) - len(self.running)
        for position in itertools.islice(waiting, max(0, room)):
            # A key of its own: the same task, given again, is to be done again.
            key = f"{self.function.__name__}-{uuid.uuid4().hex}"
            task = self.tasks[position]
            future = self.cluster.client.submit(_run_in_worker, self.function, task, key, key=key)
            self.running[future] = position
            future.add_done_callback(self.ended.put)

    def _next_ended(self) -> "Future":
        while True:
            try:
                return self.ended.get(timeout=_SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                self.cluster.count_threads()

    def _result_of(self, future: "Future") -> Any:
        from distributed import KilledWorker

        with connection():
            error = future.exception()
            count, result = (0, engine.Crashed()) if error else future.result()
        if error and not isinstance(error, KilledWorker):
            raise error
        if self.progress is not None:
            self.progress.advance(count)
        return result


def _run_in_worker(function: Callable[[Any], Any], task: Any, key: str) -> tuple[int, Any]:
    """Returns how far the task said that it went, and its result."""
    from distributed import get_worker

    counts, known_tasks = [], get_worker().state.tasks

    def report(count: int) -> None:
        engine.limit_step()
        counts.append(count)
        # A thread cannot be interrupted from outside: one that nobody waits for ends itself.
        if key not in known_tasks or known_tasks[key].state != "executing":
            raise engine.Stopped

    token = engine.reporter.set(report)
    engine.limit_step()
    try:
        result = function(task)
    finally:
        engine.limit_step(0)  # the worker itself may compute as long as it likes
        engine.reporter.reset(token)
    return sum(counts), result
