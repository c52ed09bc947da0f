"""The devices that a training runs on: one, all of this machine, or those of several machines."""

import gc
import logging
import re
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

from cbed_tf.errors import CbedError
from models.distribution.cluster import Cluster

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_STUCK_SECONDS = 1800.0
# What TensorFlow makes of a machine that is gone, beside messages that say so.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
_UNREADABLE = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError)
# Its own names for its operations, in front of what they say.
_NODE = re.compile(r"\{\{.*?\}\} ?")
MIRRORED = "mirrored"
MULTI_WORKER = "multi_worker"


def make_strategy(name: str, cluster: Cluster | None = None) -> tf.distribute.Strategy:
    """Returns the strategy of that name; several machines wait for each other here.

    Args:
      name: One of `options.STRATEGIES`.
      cluster: The machines, of 'multi_worker'.
    """
    if name == MULTI_WORKER:
        _LOG.info(
            "worker %d of %d is waiting for the others", cluster.index, len(cluster.addresses)
        )
        spec = tf.train.ClusterSpec({"worker": list(cluster.addresses)})
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            spec, task_type="worker", task_id=cluster.index, rpc_layer="grpc"
        )
        # A machine that is gone is noticed in seconds; this is for one that is there and stuck.
        patience = tf.distribute.experimental.CommunicationOptions(timeout_seconds=_STUCK_SECONDS)
        return tf.distribute.MultiWorkerMirroredStrategy(resolver, patience)
    if name == MIRRORED:
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def local_replicas(strategy: tf.distribute.Strategy) -> list[int]:
    """Returns the numbers that this machine's devices have among all devices."""

    def number() -> tf.Tensor:
        return tf.identity(tf.distribute.get_replica_context().replica_id_in_sync_group)

    return [int(value) for value in _on_each(strategy, number)]


def all_agree(strategy: tf.distribute.Strategy, number: int) -> bool:
    """Returns whether all machines say the same number, below 2**24; to be asked on all."""

    def spread() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        said = tf.constant([number, number * number], tf.float64)
        total, squares = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.SUM, said))
        devices = tf.cast(strategy.num_replicas_in_sync, tf.float64)
        return squares * devices - total * total

    return float(_on_each(strategy, spread)[0]) == 0


def _on_each(strategy: tf.distribute.Strategy, ask: Callable[[], tf.Tensor]) -> tuple:
    """Returns what a function says on each device of this machine."""
    return strategy.experimental_local_results(tf.function(lambda: strategy.run(ask))())


def explain_failures(cluster: Cluster | None, train: Callable[[], _Result]) -> _Result:
    """Returns what a training returns.

    Args:
      cluster: The machines that train together, if there are several.
      train: Trains.

    Raises:
      CbedError: TensorFlow lost another machine, had too little memory, or could not read data.
      OpError: TensorFlow ended it for another reason, which only somebody who knows the code can
        make sense of.
    """
    try:
        return train()
    except tf.errors.OpError as error:
        explanation = _explain(error, cluster)
        if explanation is None:
            raise
    # Only now is the error forgotten. Its frames hold a thread pool of TensorFlow, which complains
    # when it is still there at the end of the process.
    gc.collect()
    raise CbedError(explanation)


def _explain(error: tf.errors.OpError, cluster: Cluster | None) -> str | None:
    """Returns what an error means to people; None if nothing is known of it."""
    text = _NODE.sub("", str(error.message)).strip()
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return (
            "a step of the training does not fit into memory: take a smaller --batch_size, with "
            "--accumulate for as many samples an update"
        )
    own = re.search(r"CbedError: (.*)", text)  # of a reader, which TensorFlow calls
    if own:
        return own[1]
    found = re.search("aborted by: (.*)", text)
    if cluster is not None and (found or isinstance(error, _LOST)):
        reason = found[1] if found else type(error).__name__
        return (
            f"worker {cluster.index} has lost another worker: {reason}\nStart all of them again "
            "with the same command: the training goes on from the last state that was saved"
        )
    if isinstance(error, _UNREADABLE):
        return f"the data cannot be read: {text.splitlines()[0] if text else type(error).__name__}"
    return None
