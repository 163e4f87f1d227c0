"""The agent beside a vLLM: what it has vLLM load are the bytes that were asked for, after a restart too."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from starlette.testclient import TestClient

from services.deployer.adapters.serving_agent import create_agent
from shared.artifacts import Artifacts
from tests.builders import make_artifacts
from tests.fake_vllm import FakeVllm

KEY = {"authorization": "Bearer secret"}


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return make_artifacts(tmp_path / "agent")


@pytest.fixture
def agent(artifacts: Artifacts, vllm: FakeVllm, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_agent(artifacts, vllm.url, "secret", tmp_path / "wanted.json"), headers=KEY) as client:
        yield client


def train(folder: Path, artifacts: Artifacts) -> dict[str, str]:
    """Store an adapter; returns what the deployer asks the agent to load."""
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"approved")
    uri = f"memory://agent-{uuid4().hex}/7"
    content = artifacts.upload(folder, uri)
    return {"lora_name": "shop-v7", "lora_path": uri, "content_sha256": content}


def read_loaded(vllm: FakeVllm) -> bytes:
    return (Path(vllm.adapters["shop-v7"]) / "adapter_model.safetensors").read_bytes()


def test_an_adapter_is_fetched_and_loaded_by_address(
    agent: TestClient, vllm: FakeVllm, artifacts: Artifacts, tmp_path: Path
) -> None:
    wanted = train(tmp_path / "7", artifacts)
    assert agent.post("/v1/load_lora_adapter", json=wanted).status_code == 200
    assert read_loaded(vllm) == b"approved"
    assert [model["id"] for model in agent.get("/v1/models").json()["data"]] == ["base", "shop-v7"]


def test_after_a_restart_bytes_that_were_replaced_on_the_agents_disk_are_fetched_anew(
    agent: TestClient, vllm: FakeVllm, artifacts: Artifacts, tmp_path: Path
) -> None:
    wanted = train(tmp_path / "7", artifacts)
    agent.post("/v1/load_lora_adapter", json=wanted)
    (Path(vllm.adapters["shop-v7"]) / "adapter_model.safetensors").write_bytes(b"evil")
    vllm.restart()
    assert agent.post("/v1/load_lora_adapter", json=wanted).status_code == 200
    assert read_loaded(vllm) == b"approved"


def test_bytes_that_were_replaced_in_the_store_are_loaded_by_no_replica(
    agent: TestClient, vllm: FakeVllm, artifacts: Artifacts, tmp_path: Path
) -> None:
    wanted = train(tmp_path / "7", artifacts)
    place = f"{wanted['lora_path']}/adapter/adapter_model.safetensors"
    fsspec.filesystem("memory").pipe(place, b"evil bytes")
    refused = agent.post("/v1/load_lora_adapter", json=wanted)
    assert refused.status_code >= 400
    assert "adapter_model.safetensors" in refused.text
    assert vllm.adapters == {}


@pytest.mark.parametrize("key", ({}, {"authorization": "Bearer guessed"}))
def test_nobody_else_has_it_load_anything(
    artifacts: Artifacts, vllm: FakeVllm, tmp_path: Path, key: dict[str, str]
) -> None:
    wanted = train(tmp_path / "7", artifacts)
    with TestClient(create_agent(artifacts, vllm.url, "secret", tmp_path / "wanted.json"), headers=key) as stranger:
        for path in ("load_lora_adapter", "unload_lora_adapter", "models"):
            assert stranger.post(f"/v1/{path}", json=wanted).status_code == 401
    assert vllm.adapters == {}


@pytest.mark.parametrize("body", ({}, {"lora_name": "x"}, [], None))
def test_what_cannot_be_loaded_is_refused_with_a_reason(agent: TestClient, body: object) -> None:
    refused = agent.post("/v1/load_lora_adapter", json=body)
    assert 400 <= refused.status_code < 500
    assert refused.json()["error"]["message"]
