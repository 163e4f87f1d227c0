"""Which of a run's machines a process is on: every engine says it in words of its own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidRequest

PORT = 29500
"""Where the first machine listens for the others, as torchrun has it."""


@dataclass(frozen=True)
class Place:
    """A machine among those that train one model."""

    rank: int = 0
    count: int = 1
    address: str = "127.0.0.1"
    """Of the first machine."""
    port: int = PORT

    @property
    def is_first(self) -> bool:
        """Whether this machine reports, and stores what was trained."""
        return self.rank == 0


ALONE = Place()


def find_place(environment: Mapping[str, str]) -> Place:
    """Find the place that the engine put into a process's environment; `ALONE` where none did.

    Raises:
        InvalidRequest: its words make no sense.
    """
    try:
        for read in (_read_own, _read_torchrun, _read_sagemaker, _read_vertex):
            if place := read(environment):
                return _check(place)
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidRequest(f"the engine does not say which machine this is: {error!r}") from error
    return ALONE


def _check(place: Place) -> Place:
    if not 0 <= place.rank < place.count or not place.address:
        raise ValueError(f"machine {place.rank} of {place.count} at {place.address!r}")
    return place


def _read_own(environment: Mapping[str, str]) -> Place | None:
    """Read what our launchers write: Ray's, the plain Kubernetes Job's, the one over machines by name."""
    if "HELIOTROPE_NODES" not in environment:
        return None
    rank = environment.get("HELIOTROPE_NODE_RANK") or environment["JOB_COMPLETION_INDEX"]
    port = int(environment.get("HELIOTROPE_NODE_PORT", PORT))
    return Place(int(rank), int(environment["HELIOTROPE_NODES"]), environment["HELIOTROPE_NODE_ADDRESS"], port)


def _read_torchrun(environment: Mapping[str, str]) -> Place | None:
    """Read what Kubeflow's torch runtime writes for torchrun; a lone node has no master in some versions."""
    if "PET_NNODES" not in environment:
        return None
    count = int(environment["PET_NNODES"].partition(":")[0])
    address = environment.get("PET_MASTER_ADDR") or (ALONE.address if count == 1 else "")
    return Place(int(environment["PET_NODE_RANK"]), count, address, int(environment.get("PET_MASTER_PORT", PORT)))


def _read_sagemaker(environment: Mapping[str, str]) -> Place | None:
    """Read SageMaker's list of hosts, which is the same on each of them."""
    if "SM_HOSTS" not in environment:
        return None
    hosts = sorted(json.loads(environment["SM_HOSTS"]))
    return Place(hosts.index(environment["SM_CURRENT_HOST"]), len(hosts), hosts[0])


def _read_vertex(environment: Mapping[str, str]) -> Place | None:
    """Read Vertex's cluster: the first machine is the pool `workerpool0`, the others `workerpool1`."""
    if "CLUSTER_SPEC" not in environment:
        return None
    spec: dict[str, Any] = json.loads(environment["CLUSTER_SPEC"])
    first, others = spec["cluster"]["workerpool0"], spec["cluster"].get("workerpool1", [])
    task = spec["task"]
    rank = 0 if task["type"] == "workerpool0" else 1 + int(task["index"])
    address, _, port = first[0].partition(":")
    return Place(rank, 1 + len(others), address, int(spec.get("open_ports", [port or PORT])[0]))
