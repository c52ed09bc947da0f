"""Runs the same function over many tasks on a Dask cluster: on this machine, or on many.

Owns the connection to the cluster and nothing of the work: `connect` gives a function with the
interface of `engine.run_tasks`. A lost worker's tasks go to others. Every machine must have this
package, and see archive and output folder under the same paths. `distributed` is imported only
when it is needed: without it, everything else works.
"""

import contextlib
import dataclasses
import functools
import itertools
import logging
import queue
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cbed_tf
from cbed_tf import engine
from cbed_tf.errors import CbedError
from cbed_tf.progress import Progress

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

_LOG = logging.getLogger(__name__)
# Enough to keep a worker busy while results travel, few enough for any scheduler's memory.
_TASKS_PER_THREAD = 4
_SECONDS_FOR_SCHEDULER = 30.0
_SECONDS_WITHOUT_RESULT = 60.0
# What a worker runs first: Ctrl-C reaches all processes of a terminal, and the parent decides.
_IGNORE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


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
    _require_distributed()
    with contextlib.ExitStack() as opened:
        if scheduler is None:
            cluster = opened.enter_context(_start_cluster(workers or engine.default_workers()))
            scheduler = cluster.scheduler_address
        client = opened.enter_context(_open_client(scheduler))
        _refuse_other_versions(client)
        yield functools.partial(_run_tasks, client)


def _require_distributed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise CbedError(
            f"Dask cannot be used, {error}: `pip install -r requirements-dask.txt`, or "
            "`pip install 'cbed-tf[dask]'`"
        ) from error


def _start_cluster(workers: int) -> "LocalCluster":
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        scheduler_kwargs={"allowed_failures": 1},
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        preload=_IGNORE_INTERRUPTS,
    )


def _open_client(scheduler: str) -> "Client":
    from distributed import Client

    if scheduler.endswith(".json"):
        _wait_for_file(Path(scheduler))
        place = {"scheduler_file": scheduler}
    else:
        place = {"address": scheduler}
    try:
        return Client(**place, timeout=_SECONDS_FOR_SCHEDULER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise CbedError(f"no Dask scheduler answers at {scheduler}: {error}") from error


def _wait_for_file(path: Path) -> None:
    """Waits for a scheduler that a batch job starts just before the conversion."""
    deadline = time.monotonic() + _SECONDS_FOR_SCHEDULER
    while not path.exists():
        if time.monotonic() > deadline:
            raise CbedError(f"no Dask scheduler has written {path}")
        time.sleep(0.2)


def _refuse_other_versions(client: "Client") -> None:
    """Refuses machines that would write other bytes, or would only break."""
    found = {"the scheduler": "missing", **client.run(_version, on_error="return")}
    with contextlib.suppress(ModuleNotFoundError):
        found["the scheduler"] = client.run_on_scheduler(_version)
    for place, version in found.items():
        if version != cbed_tf.__version__:
            raise CbedError(f"cbed-tf is {cbed_tf.__version__} here, at {place}: {version}")


def _version() -> str:
    return cbed_tf.__version__


def _run_tasks(
    client: "Client",
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Any]]:
    """Does what `engine.run_tasks` does, on as many `workers` as the cluster has at the moment."""
    run = _Run(client, function, tasks, progress)
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

    client: "Client"
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
            self.client.cancel(list(self.running))

    def _submit_some(self, waiting: Iterator[int]) -> None:
        room = max(1, _TASKS_PER_THREAD * self._count_threads()) - len(self.running)
        for position in itertools.islice(waiting, max(0, room)):
            # A key of its own: the same task, given again, is to be done again.
            key = f"{self.function.__name__}-{uuid.uuid4().hex}"
            task = self.tasks[position]
            future = self.client.submit(_run_in_worker, self.function, task, key, key=key)
            self.running[future] = position
            future.add_done_callback(self.ended.put)

    def _count_threads(self) -> int:
        with _connection():
            threads = sum(self.client.nthreads().values())
        if not threads:
            _LOG.info("no workers at %s, waiting for some", self.client.scheduler.address)
        return threads

    def _next_ended(self) -> "Future":
        while True:
            try:
                return self.ended.get(timeout=_SECONDS_WITHOUT_RESULT)
            except queue.Empty:
                self._count_threads()  # says so if all were lost

    def _result_of(self, future: "Future") -> Any:
        from distributed import KilledWorker

        with _connection():
            error = future.exception()
            count, result = (0, engine.Crashed()) if error else future.result()
        if error and not isinstance(error, KilledWorker):
            raise error
        if self.progress is not None:
            self.progress.advance(count)
        return result


@contextlib.contextmanager
def _connection() -> Iterator[None]:
    """Tells the loss of the connection, which Dask reports in many ways, from errors of tasks."""
    try:
        yield
    except Exception as error:
        raise CbedError(
            "the connection to the Dask scheduler is lost; the same command goes on where this "
            f"one stopped: {error}"
        ) from error


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
