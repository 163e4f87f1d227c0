"""Which machine a process is on, in each engine's words."""

import json

import pytest

from services.trainer.domain.planning.places import ALONE, Place, find_place
from shared.errors import InvalidRequest


def test_without_a_word_a_machine_is_alone():
    assert find_place({"PATH": "/bin"}) == ALONE


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"HELIOTROPE_NODES": "3", "HELIOTROPE_NODE_RANK": "2", "HELIOTROPE_NODE_ADDRESS": "a"}, Place(2, 3, "a")),
        (
            {"HELIOTROPE_NODES": "2", "JOB_COMPLETION_INDEX": "1", "HELIOTROPE_NODE_ADDRESS": "a-0.a"},
            Place(1, 2, "a-0.a"),
        ),
        (
            {
                "PET_NNODES": "2",
                "PET_NODE_RANK": "0",
                "PET_MASTER_ADDR": "run-node-0-0.run",
                "PET_MASTER_PORT": "29400",
            },
            Place(0, 2, "run-node-0-0.run", 29400),
        ),
        ({"PET_NNODES": "1", "PET_NODE_RANK": "0"}, Place(0, 1)),
        ({"SM_HOSTS": '["algo-2", "algo-1"]', "SM_CURRENT_HOST": "algo-2"}, Place(1, 2, "algo-1")),
    ],
    ids=["ours", "indexed job", "kubeflow", "kubeflow alone", "sagemaker"],
)
def test_each_engine_is_understood(environment: dict[str, str], place: Place):
    assert find_place(environment) == place


@pytest.mark.parametrize(
    ("kind", "index", "rank"), [("workerpool0", 0, 0), ("workerpool1", 0, 1), ("workerpool1", 1, 2)]
)
def test_vertex_counts_its_second_pool_behind_the_first(kind: str, index: int, rank: int):
    cluster = {"workerpool0": ["head:2222"], "workerpool1": ["one:2222", "two:2222"]}
    spec = {"cluster": cluster, "task": {"type": kind, "index": index}}
    assert find_place({"CLUSTER_SPEC": json.dumps(spec)}) == Place(rank, 3, "head", 2222)


@pytest.mark.parametrize(
    "environment",
    [
        {"HELIOTROPE_NODES": "2", "HELIOTROPE_NODE_RANK": "2", "HELIOTROPE_NODE_ADDRESS": "a"},
        {"PET_NNODES": "2", "PET_NODE_RANK": "1"},
        {"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-9"},
        {"CLUSTER_SPEC": "{}"},
    ],
    ids=["rank beyond", "no master", "stranger", "empty"],
)
def test_what_makes_no_sense_is_refused(environment: dict[str, str]):
    with pytest.raises(InvalidRequest, match="which machine"):
        find_place(environment)
