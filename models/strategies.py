"""The devices that a training runs on: one, all of this machine, or those of several machines."""

import contextlib
import gc
import logging
import re
from collections.abc import Iterator

import tensorflow as tf

from cbed_tf.errors import CbedError
from models.cluster import Cluster

_LOG = logging.getLogger(__name__)
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
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    if name == MIRRORED:
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def local_replicas(strategy: tf.distribute.Strategy) -> list[int]:
    """Returns the numbers that this machine's devices have among all devices."""

    def number() -> tf.Tensor:
        return tf.identity(tf.distribute.get_replica_context().replica_id_in_sync_group)

    return [int(value) for value in strategy.experimental_local_results(strategy.run(number))]


def all_agree(strategy: tf.distribute.Strategy, number: int) -> bool:
    """Returns whether all machines say the same number, below 2**24; to be asked on all."""

    def spread() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        said = tf.constant([number, number * number], tf.float64)
        total, squares = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.SUM, said))
        devices = tf.cast(strategy.num_replicas_in_sync, tf.float64)
        return squares * devices - total * total

    results = strategy.experimental_local_results(strategy.run(spread))
    return float(results[0]) == 0


@contextlib.contextmanager
def lost_machines_named(cluster: Cluster | None) -> Iterator[None]:
    """Turns TensorFlow's errors inside into a refusal, if they mean that a machine is gone.

    Raises:
      CbedError: One is.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if cluster is None or isinstance(error, tf.errors.ResourceExhaustedError):
            raise
        found = re.search("aborted by: (.*)", str(error.message))
        reason = found[1] if found else type(error).__name__
    else:
        return
    # Not from inside, and swept up: what TensorFlow's frames hold complains at the process's end.
    gc.collect()
    raise CbedError(
        f"worker {cluster.index} has lost another worker: {reason}\nStart all of them again with "
        "the same command: the training goes on from the last state that was saved"
    )
