"""Which machines train together, and which of them this is: from TF_CONFIG, or from SLURM."""

import dataclasses
import json
import os
import re
from collections.abc import Mapping

from cbed_tf.errors import CbedError

_TF_CONFIG = "TF_CONFIG"
_WORKER = "worker"
# Below the ports that systems give away by themselves.
_FIRST_PORT, _PORTS = 12000, 20000


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Machines (or processes of one) that train together.

    Attributes:
      addresses: 'host:port' of each; the first one is the chief, which alone writes.
      index: Of this one.
    """

    addresses: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < len(self.addresses):
            raise CbedError(f"worker {self.index} is none of the {len(self.addresses)} workers")

    @property
    def is_chief(self) -> bool:
        """Whether this is the one that writes."""
        return self.index == 0

    def as_tf_config(self) -> str:
        """Returns what `read_cluster` reads as TF_CONFIG."""
        task = {"type": _WORKER, "index": self.index}
        return json.dumps({"cluster": {_WORKER: self.addresses}, "task": task})


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Returns the machines that the environment names.

    Raises:
      CbedError: It names none, or in a form that cannot be used.
    """
    if _TF_CONFIG in environment:
        return _of_tf_config(environment[_TF_CONFIG])
    if "SLURM_PROCID" in environment:
        return _of_slurm(environment)
    raise CbedError(
        "strategy is 'multi_worker', but neither TF_CONFIG nor SLURM says which machines there "
        "are: start it with srun, or try it out with --local_workers=2"
    )


def _of_tf_config(text: str) -> Cluster:
    try:
        config = json.loads(text)
        machines, task = config["cluster"], config["task"]
        addresses = (*machines.get("chief", ()), *machines.get(_WORKER, ()))
        before = 0 if task["type"] == "chief" else len(machines.get("chief", ()))
        if task["type"] not in ("chief", _WORKER):
            raise ValueError(f"its task is a {task['type']}, should be a worker")
        return Cluster(addresses, before + int(task["index"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CbedError(f"TF_CONFIG cannot be used: {error!r}; it is {text}") from error


def _of_slurm(environment: Mapping[str, str]) -> Cluster:
    # By hand: TensorFlow's own resolver sorts node10 before node9, SLURM does not, and it wants
    # nvidia-smi.
    try:
        nodes = expand_nodes(_slurm(environment, "NODELIST"))
        tasks = _expand_tasks(_slurm(environment, "TASKS_PER_NODE"))
        port = _FIRST_PORT + int(environment["SLURM_JOB_ID"]) % _PORTS
        addresses = [
            f"{node}:{port + task}"
            for node, count in zip(nodes, tasks, strict=True)
            for task in range(count)
        ]
        return Cluster(tuple(addresses), int(environment["SLURM_PROCID"]))
    except (KeyError, ValueError) as error:
        raise CbedError(f"SLURM's variables cannot be used: {error!r}") from error


def _slurm(environment: Mapping[str, str], name: str) -> str:
    """Returns a variable of this step of a job, or of the whole job."""
    whole = "SLURM_JOB_NODELIST" if name == "NODELIST" else f"SLURM_{name}"
    return environment.get(f"SLURM_STEP_{name}") or environment[whole]


def expand_nodes(text: str) -> list[str]:
    """Returns the names that a node list like 'gpu[08-10,12],login1' stands for.

    Raises:
      ValueError: It has another form.
    """
    if not re.fullmatch(r"(?:[^\[\],]+(?:\[[\d,-]+\])?(?:,(?!$)|$))+", text):
        raise ValueError(f"a node list is {text!r}, should be like 'gpu[08-10,12],login1'")
    nodes = []
    for prefix, ranges in re.findall(r"([^\[\],]+)(?:\[([\d,-]+)\])?", text):
        for part in ranges.split(",") if ranges else []:
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            nodes += [f"{prefix}{number:0{len(first)}}" for number in numbers]
        if not ranges:
            nodes.append(prefix)
    return nodes


def _expand_tasks(text: str) -> list[int]:
    """Returns the tasks on each node of '4(x2),3'."""
    counts = []
    for part in text.split(","):
        count, _, times = part.removesuffix(")").partition("(x")
        counts += [int(count)] * int(times or 1)
    return counts
