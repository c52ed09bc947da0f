"""The connection to a Dask cluster: found or started, checked, looked after.

Owns everything that goes wrong between machines: no Dask, no scheduler, another version of this
package, workers that do not come back, a lost connection. Tasks are given to it in `dask_engine`.
`distributed` is imported only when it is needed: without it, everything else works.
"""

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cbed_tf
from cbed_tf.errors import CbedError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_LOG = logging.getLogger(__name__)
_SECONDS_FOR_SCHEDULER = 30.0
# Thrice among others and thrice alone: a worker that dies was perhaps killed from outside, by hand
# or for want of memory; Dask does not tell. Other schedulers have their own number, mostly 3.
_DEATHS_FORGIVEN = 2
# What a worker runs first: Ctrl-C reaches all processes of a terminal, and the parent decides.
_IGNORE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


class Cluster:
    """A connection.

    Args:
      client: Dask's own.
      local_workers: How many workers there should be, if they are ours.
    """

    def __init__(self, client: "Client", local_workers: int | None):
        self.client = client
        self._local_workers = local_workers
        self._was_empty = False

    def count_threads(self) -> int:
        """Returns how many tasks run at a time at the moment; sees to it that workers come back."""
        with connection():
            threads = sum(self.client.nthreads().values())
        if self._local_workers and threads < self._local_workers:
            # Dask gives up on a worker that is dead when it looks 15 s after an earlier death.
            self.client.cluster.scale(self._local_workers)
        elif not threads and not self._was_empty:
            _LOG.info("no workers at %s, waiting for some", self.client.scheduler.address)
        self._was_empty = not threads
        return threads


@contextlib.contextmanager
def connection() -> Iterator[None]:
    """Tells the loss of the connection, which Dask reports in many ways, from errors of tasks."""
    try:
        yield
    except Exception as error:
        raise CbedError(
            "the connection to the Dask scheduler is lost; the same command goes on where this "
            f"one stopped: {error}"
        ) from error


@contextlib.contextmanager
def find_cluster(scheduler: str) -> Iterator[Cluster]:
    """Connects to the cluster of a scheduler, given by address or by its .json file."""
    _require_distributed()
    with _open_client(scheduler) as client:
        _refuse_other_versions(client)
        yield Cluster(client, local_workers=None)


@contextlib.contextmanager
def start_cluster(workers: int) -> Iterator[Cluster]:
    """Starts a cluster on this machine; it ends with the context."""
    _require_distributed()
    from distributed import Client

    with (
        _start_processes(workers) as processes,
        Client(processes, set_as_default=False) as client,
    ):
        yield Cluster(client, workers)


def _require_distributed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise CbedError(
            f"Dask cannot be used, {error}: `pip install -r requirements-dask.txt`, or "
            "`pip install 'cbed-tf[dask]'`"
        ) from error


def _start_processes(workers: int) -> "LocalCluster":
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        scheduler_kwargs={"allowed_failures": _DEATHS_FORGIVEN},
        dashboard_address="127.0.0.1:0",  # None would take port 8787 all the same
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
