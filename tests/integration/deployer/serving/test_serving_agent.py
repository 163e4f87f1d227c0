"""The agent beside a vLLM, over HTTP: what it is told to load it fetches by address and verifies first."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from services.deployer.adapters.serving_agent import create_agent
from tests.builders import make_artifacts
from tests.fake_vllm import FakeVllm

KEY = {"authorization": "Bearer secret"}


@pytest.fixture
def agent(tmp_path: Path, vllm: FakeVllm) -> Iterator[TestClient]:
    with TestClient(
        create_agent(make_artifacts(tmp_path / "cache"), vllm.url, "secret", tmp_path / "wanted.json")
    ) as client:
        yield client


def store_candidate(folder: Path) -> tuple[str, str]:
    """Return an adapter's address and what its manifest hashes to."""
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    return str(folder), make_artifacts(folder.parent / "store").upload(folder, str(folder))


def test_an_adapter_is_fetched_by_its_address_and_loaded_from_this_disk(
    agent: TestClient, vllm: FakeVllm, tmp_path: Path
):
    uri, content = store_candidate(tmp_path / "candidate")
    body = {"lora_name": "shop-v2", "lora_path": uri, "content_sha256": content}
    assert agent.post("/v1/load_lora_adapter", json=body, headers=KEY).status_code == 200
    assert (Path(vllm.adapters["shop-v2"]) / "adapter_config.json").is_file()
    assert "shop-v2" in agent.get("/v1/models", headers=KEY).text
    question = {"model": "shop-v2", "messages": [{"role": "user", "content": "Hello"}]}
    assert agent.post("/v1/chat/completions", json=question, headers=KEY).json()["choices"]
    assert agent.post("/v1/unload_lora_adapter", json={"lora_name": "shop-v2"}, headers=KEY).status_code == 200
    assert vllm.adapters == {}


def test_what_does_not_hash_to_what_was_registered_is_not_loaded(agent: TestClient, vllm: FakeVllm, tmp_path: Path):
    uri, _ = store_candidate(tmp_path / "candidate")
    body = {"lora_name": "shop-v2", "lora_path": uri, "content_sha256": "0" * 64}
    assert agent.post("/v1/load_lora_adapter", json=body, headers=KEY).status_code >= 400
    assert vllm.adapters == {}


def test_without_the_key_nothing_is_loaded_and_only_health_is_told(agent: TestClient, vllm: FakeVllm):
    body = {"lora_name": "shop-v2", "lora_path": "/nowhere"}
    assert agent.post("/v1/load_lora_adapter", json=body).status_code == 401
    assert agent.get("/v1/models").status_code == 401
    assert agent.get("/healthz").json() == {"status": "ok"}
    assert vllm.adapters == {}


def test_what_is_not_there_is_told_as_such(agent: TestClient, tmp_path: Path):
    body = {"lora_name": "shop-v2", "lora_path": str(tmp_path / "nothing"), "content_sha256": "0" * 64}
    assert agent.post("/v1/load_lora_adapter", json=body, headers=KEY).status_code == 404
    for wrong in (b"{", b"[]", b"[" * 100_000, b'{"lora_name": "a", "lora_path": 7}', b'"lora_name"', b"\xff"):
        assert agent.post("/v1/load_lora_adapter", content=wrong, headers=KEY).status_code == 400


@pytest.mark.parametrize("path", ["load_lora_adapter", "chat/completions"])
def test_a_body_without_end_is_413(agent: TestClient, path: str):
    assert agent.post(f"/v1/{path}", content=b" " * (17 * 2**20), headers=KEY).status_code == 413


def test_it_is_ready_once_vllm_serves_what_the_deployer_wants_also_after_a_restart(
    agent: TestClient, vllm: FakeVllm, tmp_path: Path
):
    assert agent.get("/readyz").status_code == 503
    assert agent.post("/v1/wanted_adapters", json={"lora_names": ["shop-v2"]}).status_code == 401
    assert agent.post("/v1/wanted_adapters", json=["shop-v2"], headers=KEY).status_code == 400
    assert agent.post("/v1/wanted_adapters", json={"lora_names": ["shop-v2"]}, headers=KEY).status_code == 200
    assert "not loaded yet: shop-v2" in agent.get("/readyz").text
    uri, content = store_candidate(tmp_path / "candidate")
    agent.post(
        "/v1/load_lora_adapter",
        json={"lora_name": "shop-v2", "lora_path": uri, "content_sha256": content},
        headers=KEY,
    )
    assert agent.get("/readyz").status_code == 200
    vllm.restart()
    restarted = create_agent(make_artifacts(tmp_path / "cache"), vllm.url, "secret", tmp_path / "wanted.json")
    with TestClient(restarted) as anew:
        assert anew.get("/readyz").status_code == 503
    agent.post("/v1/wanted_adapters", json={"lora_names": []}, headers=KEY)
    assert agent.get("/readyz").status_code == 200
