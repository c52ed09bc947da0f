import json

import pytest

from cbed_tf.errors import CbedError
from models.distribution.cluster import Cluster, expand_nodes, read_cluster

SLURM = {
    "SLURM_PROCID": "2",
    "SLURM_JOB_ID": "1234567",
    "SLURM_JOB_NODELIST": "gpu[9-10]",
    "SLURM_TASKS_PER_NODE": "2(x2)",
}


def tf_config(task, **machines):
    return {"TF_CONFIG": json.dumps({"cluster": machines, "task": task})}


def test_machines_of_tf_config():
    task = {"type": "worker", "index": 1}
    cluster = read_cluster({**SLURM, **tf_config(task, worker=["a:1", "b:2"])})
    assert cluster == Cluster(("a:1", "b:2"), 1)
    assert not cluster.is_chief
    assert read_cluster({"TF_CONFIG": cluster.as_tf_config()}) == cluster


def test_a_chief_comes_before_the_workers():
    machines = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    for index, task in enumerate(
        [dict(type="chief", index=0), dict(type="worker", index=0), dict(type="worker", index=1)]
    ):
        cluster = read_cluster(tf_config(task, **machines))
        assert cluster == Cluster(("a:1", "b:2", "c:3"), index)
        assert cluster.is_chief == (index == 0)


def test_machines_of_slurm_in_slurms_order():
    port = 12000 + 1234567 % 20000
    nodes = [f"{node}:{port + task}" for node in ("gpu9", "gpu10") for task in (0, 1)]
    assert read_cluster(SLURM) == Cluster(tuple(nodes), 2)


def test_a_step_of_a_job_may_have_fewer_nodes():
    step = {"SLURM_STEP_NODELIST": "gpu10", "SLURM_STEP_TASKS_PER_NODE": "3"}
    cluster = read_cluster({**SLURM, **step})
    assert [address.partition(":")[0] for address in cluster.addresses] == ["gpu10"] * 3


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("login1", ["login1"]),
        ("gpu[08-10,12],login1", ["gpu08", "gpu09", "gpu10", "gpu12", "login1"]),
        ("a,b[1],c-d[2-3]", ["a", "b1", "c-d2", "c-d3"]),
    ],
)
def test_node_lists(text, nodes):
    assert expand_nodes(text) == nodes


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "neither TF_CONFIG nor SLURM says .*--local_workers=2"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG cannot be used"),
        ({"TF_CONFIG": "[]"}, "TF_CONFIG cannot be used"),
        (tf_config({"type": "ps", "index": 0}, worker=["a:1"]), "its task is a ps"),
        (tf_config({"type": "worker", "index": 1}, worker=["a:1"]), "worker 1 is none of the 1"),
        ({**SLURM, "SLURM_JOB_NODELIST": "gpu[1-"}, "a node list is 'gpu\\[1-'"),
        ({**SLURM, "SLURM_TASKS_PER_NODE": "many"}, "SLURM's variables cannot be used"),
        ({**SLURM, "SLURM_TASKS_PER_NODE": "2"}, "SLURM's variables cannot be used"),
        ({"SLURM_PROCID": "0"}, "SLURM's variables cannot be used"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(environment, message):
    with pytest.raises(CbedError, match=message):
        read_cluster(environment)
