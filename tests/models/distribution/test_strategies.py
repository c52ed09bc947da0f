"""What people are told when TensorFlow ends a training."""

import pytest
import tensorflow as tf

from cbed_tf.errors import CbedError
from models.distribution.cluster import Cluster
from models.distribution.strategies import explain_failures

CLUSTER = Cluster(("a:1", "b:2"), 1)


def fail(error):
    def train():
        raise error(None, None, MESSAGE)

    return train


MESSAGE = "{{function_node __wrapped__IteratorGetNext}} corrupted record at 12\nand more"


@pytest.mark.parametrize("cluster", [None, CLUSTER])
def test_what_a_reader_refuses_is_said_in_its_words(cluster):
    def read(number):
        raise CbedError(f"shard {number} is shorter than the index says")

    def train():
        numbers = tf.data.Dataset.range(7, 9)
        return list(numbers.map(lambda k: tf.numpy_function(read, [k], tf.float32)))

    with pytest.raises(CbedError, match="^shard 7 is shorter than the index says$"):
        explain_failures(cluster, train)


@pytest.mark.parametrize("cluster", [None, CLUSTER])
def test_too_little_memory_says_what_may_help(cluster):
    with pytest.raises(CbedError, match="a smaller --batch_size, with --accumulate for as many"):
        explain_failures(cluster, fail(tf.errors.ResourceExhaustedError))


@pytest.mark.parametrize("cluster", [None, CLUSTER])
def test_data_that_cannot_be_read_are_not_a_lost_worker(cluster):
    with pytest.raises(CbedError, match="^the data cannot be read: corrupted record at 12$"):
        explain_failures(cluster, fail(tf.errors.DataLossError))


def test_a_lost_worker_is_named_in_a_cluster_alone():
    lost = "worker 1 has lost another worker: UnavailableError\nStart all of them again"
    with pytest.raises(CbedError, match=lost):
        explain_failures(CLUSTER, fail(tf.errors.UnavailableError))
    with pytest.raises(tf.errors.UnavailableError):
        explain_failures(None, fail(tf.errors.UnavailableError))

    def train():
        message = "Collective ops is aborted by: connection reset by peer\nThe error could be from"
        raise tf.errors.FailedPreconditionError(None, None, message)

    with pytest.raises(CbedError, match="lost another worker: connection reset by peer\n"):
        explain_failures(CLUSTER, train)


@pytest.mark.parametrize("cluster", [None, CLUSTER])
def test_what_nobody_foresaw_stays_as_it_is(cluster):
    with pytest.raises(tf.errors.InvalidArgumentError):
        explain_failures(cluster, fail(tf.errors.InvalidArgumentError))


def test_what_a_training_returns_is_returned():
    assert explain_failures(None, lambda: 3) == 3
