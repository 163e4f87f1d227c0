"""Adapters on vLLM's replicas: a stand-in speaks its documented protocol; the real one is asked by `make test-vllm`."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from services.deployer.adapters.candidate_files import CandidateFiles
from services.deployer.adapters.gateways import have_gateways_flipped
from services.deployer.adapters.serving import list_replicas, locate_adapter
from services.deployer.adapters.vllm import NotServed, VllmReplicas
from shared.artifacts import ArtifactCorrupt, Artifacts
from shared.errors import Unavailable
from shared.events import Route
from shared.registry import ModelVersion
from shared.signing import Verifier
from tests.builders import make_artifacts, make_routing
from tests.fake_vllm import FakeVllm

TABLE = make_routing(Route(version="1", model="base", base_url="http://vllm/v1"))


@pytest.fixture
def replicas() -> Iterator[list[FakeVllm]]:
    both = [FakeVllm(key="secret"), FakeVllm(key="secret")]
    yield both
    for replica in both:
        replica.close()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Deployment:
    """The serving port over these replicas, on artifacts of a folder."""

    def __init__(self, folder: Path, replicas: list[FakeVllm], have_agents: bool = False) -> None:
        self.folder, self.clock, self.flipped = folder, Clock(), True
        self.artifacts: Artifacts = make_artifacts(folder / "models")
        self.serving = VllmReplicas(
            "http://vllm/v1",
            lambda: [replica.url for replica in replicas],
            lambda version: locate_adapter(CandidateFiles(self.artifacts, Verifier([])), version, by_address=False),
            "shop",
            key="secret",
            drain_seconds=60,
            have_flipped=lambda: self.flipped,
            deadline_seconds=5,
            clock=self.clock,
            have_agents=have_agents,
        )

    def train(self, version: str) -> ModelVersion:
        folder = self.folder / version
        (folder / "adapter").mkdir(parents=True)
        (folder / "adapter" / "adapter_config.json").write_text("{}")
        content = self.artifacts.upload(folder, str(folder))
        return ModelVersion(version, {"served_model": str(folder), "content_sha256": content})

    def route(self, version: ModelVersion) -> tuple[ModelVersion, Route]:
        return version, self.serving.serve(version, TABLE)


@pytest.fixture
def deployment(tmp_path: Path, replicas: list[FakeVllm]) -> Deployment:
    return Deployment(tmp_path, replicas)


def test_an_adapter_is_loaded_on_every_replica_under_a_name_of_its_own_and_each_is_asked(
    deployment: Deployment, replicas: list[FakeVllm]
):
    version = deployment.train("7")
    route = deployment.serving.serve(version, TABLE)
    assert (route.version, route.model, route.base_url) == ("7", "shop-v7", "http://vllm/v1")
    for replica in replicas:
        assert replica.adapters == {"shop-v7": str(deployment.folder / "7" / "adapter")}
        assert replica.asked == ["shop-v7"]
    assert deployment.serving.serve(version, TABLE) == route


def test_a_replica_that_cannot_answer_keeps_the_version_from_users(deployment: Deployment, replicas: list[FakeVllm]):
    replicas[1].is_broken = True
    with pytest.raises(httpx.HTTPStatusError):
        deployment.serving.serve(deployment.train("7"), TABLE)


def test_a_replica_that_restarted_gets_its_adapters_back(deployment: Deployment, replicas: list[FakeVllm]):
    wanted = [deployment.route(deployment.train("7")), deployment.route(deployment.train("8"))]
    assert deployment.serving.maintain(wanted) == 0
    replicas[0].restart()
    assert deployment.serving.maintain(wanted) == 2
    assert set(replicas[0].adapters) == {"shop-v7", "shop-v8"}
    assert replicas[0].asked[-2:] in (["shop-v7", "shop-v8"], ["shop-v8", "shop-v7"])


def test_an_adapter_is_unloaded_after_its_drain_and_once_the_gateways_have_flipped(
    deployment: Deployment, replicas: list[FakeVllm]
):
    old, new = deployment.route(deployment.train("7")), deployment.route(deployment.train("8"))
    assert deployment.serving.maintain([old, new]) == 0
    deployment.clock.now = 1_000
    assert deployment.serving.maintain([new]) == 0
    deployment.clock.now += 59
    assert deployment.serving.maintain([new]) == 0
    deployment.clock.now += 2
    deployment.flipped = False
    assert deployment.serving.maintain([new]) == 0
    deployment.flipped = True
    assert deployment.serving.maintain([new]) == 2
    assert all(set(replica.adapters) == {"shop-v8"} for replica in replicas)


def test_the_base_that_replicas_were_started_with_is_only_asked(deployment: Deployment, replicas: list[FakeVllm]):
    adopted = ModelVersion("1", {"served_model": "base", "adopted": "true"})
    assert deployment.serving.serve(adopted, TABLE).model == "base"
    assert replicas[0].adapters == {}
    assert replicas[0].asked == ["base"]


def test_bytes_that_are_not_those_registered_are_not_served(deployment: Deployment, replicas: list[FakeVllm]):
    version = deployment.train("7")
    (deployment.folder / "7" / "adapter" / "adapter_config.json").write_text('{"evil": true}')
    with pytest.raises(ArtifactCorrupt):
        deployment.serving.serve(version, TABLE)
    assert replicas[0].adapters == {}


def test_a_refusal_of_a_replica_is_told_and_no_replica_is_no_success(tmp_path: Path, replicas: list[FakeVllm]):
    version = Deployment(tmp_path, replicas).train("7")
    wrong_key = Deployment(tmp_path / "other", replicas)
    wrong_key.serving.close()
    wrong_key.serving = VllmReplicas(
        "http://vllm/v1",
        lambda: [replicas[0].url],
        lambda _: locate_adapter(CandidateFiles(wrong_key.artifacts, Verifier([])), version, by_address=False),
        "shop",
        drain_seconds=0,
        have_flipped=lambda: True,
    )
    with pytest.raises(NotServed, match="401"):
        wrong_key.serving.serve(version, TABLE)
    with pytest.raises(Unavailable, match="no replica"):
        Deployment(tmp_path / "none", []).serving.serve(version, TABLE)


def test_gateways_have_flipped_when_each_says_so():
    registry = CollectorRegistry()
    Gauge("heliotrope_routing_generation", "of the table in force", registry=registry).set(3)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    gateway = f"http://127.0.0.1:{server.server_port}"
    assert have_gateways_flipped([gateway], lambda: 3)
    assert not have_gateways_flipped([gateway], lambda: 4)
    server.shutdown()
    server.server_close()
    thread.join()
    replica = FakeVllm()
    assert have_gateways_flipped([], lambda: 3)
    assert not have_gateways_flipped([replica.url.removesuffix("/v1")], lambda: 3)  # no gateway answers there
    replica.close()
    assert not have_gateways_flipped([replica.url.removesuffix("/v1")], lambda: 0)


def test_agents_are_told_what_is_wanted_of_them_and_vllm_itself_is_not(tmp_path: Path, replicas: list[FakeVllm]):
    deployment = Deployment(tmp_path, replicas, have_agents=True)
    version = deployment.train("2")
    deployment.serving.maintain([(version, deployment.serving.serve(version, TABLE))])
    assert [replica.wanted for replica in replicas] == [["shop-v2"], ["shop-v2"]]
    deployment.serving.maintain([])
    assert [replica.wanted for replica in replicas] == [[], []]
    plain = FakeVllm(key="secret")
    Deployment(tmp_path / "plain", [plain]).serving.maintain([])
    assert plain.wanted is None
    plain.close()


def test_a_host_name_stands_for_each_of_its_addresses():
    assert list_replicas(["http://a:1/v1", "dns+http://localhost:8000/v1"])[:2] == [
        "http://a:1/v1",
        "http://127.0.0.1:8000/v1",
    ]
