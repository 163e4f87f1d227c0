"""The local stack's model server is told what to serve, as vLLM is; it starts empty, and reads nothing unverified."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import uvicorn

from local.model_server.app import create_app
from local.model_server.models import Models
from local.model_server.worker import Worker
from services.deployer.adapters.candidate_files import CandidateFiles
from services.deployer.adapters.serving import locate_model
from services.deployer.adapters.vllm import VllmReplicas
from shared.artifacts import ArtifactCorrupt, calculate_weights_sha256
from shared.events import Route
from shared.registry import ModelVersion
from shared.signing import Verifier
from tests.builders import make_artifacts, make_routing
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


class LocalServer:
    """A model server in this process; `restart` puts an empty one in its place."""

    def __init__(self) -> None:
        self._server: uvicorn.Server | None = None
        self._port = 0
        self.restart()

    def restart(self) -> None:
        self.stop()
        worker = Worker()
        self.models = Models(worker, dtype=torch.float32, slots=4, context=200)
        worker.start()
        config = uvicorn.Config(create_app(worker, self.models), port=self._port, log_level="warning")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self._port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/v1"

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join()

    def list_names(self) -> set[str]:
        return {each.name for each in self.models.list()}

    def ask(self, model: str) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": "Where is my order?"}], "temperature": 0}
        answer = httpx.post(f"{self.url}/chat/completions", json=body | {"max_tokens": 20}, timeout=60)
        return str(answer.raise_for_status().json()["choices"][0]["message"]["content"])


@pytest.fixture
def server() -> Iterator[LocalServer]:
    running = LocalServer()
    yield running
    running.stop()


class Deployment:
    """A champion that was adopted, and candidates on it."""

    def __init__(self, folder: Path, server: LocalServer) -> None:
        self.folder, self.now, self.artifacts = folder, 0.0, make_artifacts(folder / "models")
        self.base = save_tiny_model(folder / "base")
        tags = {
            "served_model": str(self.base),
            "adopted": "true",
            "weights_sha256": calculate_weights_sha256(self.base),
        }
        self.champion = ModelVersion("1", tags)
        self.route = Route(version="1", model=str(self.base), base_url=server.url)
        self.serving = VllmReplicas(
            server.url,
            lambda: [server.url],
            partial(locate_model, CandidateFiles(self.artifacts, Verifier([]))),
            "shop",
            drain_seconds=60,
            have_flipped=lambda: True,
            clock=lambda: self.now,
            start_empty=True,
        )

    def train(self, version: str, seed: int) -> ModelVersion:
        folder = make_adapter(self.base, self.folder / version, seed)
        content = self.artifacts.upload(folder, str(folder))
        return ModelVersion(version, {"served_model": str(folder), "content_sha256": content})

    def serve(self, version: ModelVersion) -> tuple[ModelVersion, Route]:
        return version, self.serving.serve(version, make_routing(self.route))


def make_adapter(base: Path, folder: Path, seed: int) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from services.trainer.adapters.artifacts.candidate import save_adapter
    from shared.artifacts.models import BaseReference

    torch.manual_seed(seed)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_()
    save_adapter(model, base, BaseReference(str(base)), folder)
    return folder


@pytest.fixture
def deployment(tmp_path: Path, server: LocalServer) -> Iterator[Deployment]:
    made = Deployment(tmp_path, server)
    yield made
    made.serving.close()


def test_champion_and_candidates_are_served_side_by_side_under_names_of_their_own(
    deployment: Deployment, server: LocalServer
):
    champion = (deployment.champion, deployment.route)
    assert deployment.serving.maintain([champion]) == 1
    second, third = (deployment.serve(deployment.train(version, seed)) for version, seed in (("2", 2), ("3", 3)))
    assert [route.model for _, route in (second, third)] == ["shop-v2", "shop-v3"]
    answers = {server.ask(name) for name in (str(deployment.base), "shop-v2", "shop-v3")}
    assert len(answers) == 3
    assert len({id(each.base) for each in server.models.list()}) == 1
    assert deployment.serving.maintain([champion, second, third]) == 0


def test_a_server_that_restarted_is_given_back_what_it_had(deployment: Deployment, server: LocalServer):
    wanted = [(deployment.champion, deployment.route), deployment.serve(deployment.train("2", 2))]
    deployment.serving.maintain(wanted)
    before = {name: server.ask(name) for name in server.list_names()}
    assert len(before) == 2
    server.restart()
    assert server.list_names() == set()
    assert deployment.serving.maintain(wanted) == 2
    assert {name: server.ask(name) for name in server.list_names()} == before


@pytest.mark.parametrize("victim", ["base", "2"])
def test_after_a_restart_nothing_is_read_that_is_not_what_was_registered(
    deployment: Deployment, server: LocalServer, victim: str
):
    wanted = [deployment.serve(deployment.train("2", 2)), (deployment.champion, deployment.route)]
    server.restart()
    (weights,) = (deployment.folder / victim).rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"evil")
    with pytest.raises(ArtifactCorrupt):
        deployment.serving.maintain(wanted)
    assert (str(deployment.base) if victim == "base" else "shop-v2") not in server.list_names()


def test_what_nobody_is_routed_to_any_more_is_unloaded(deployment: Deployment, server: LocalServer):
    old, new = (deployment.serve(deployment.train(version, seed)) for version, seed in (("2", 2), ("3", 3)))
    assert deployment.serving.maintain([old, new]) == 0
    assert deployment.serving.maintain([new]) == 0
    deployment.now = 61
    assert deployment.serving.maintain([new]) == 1
    assert server.list_names() == {"shop-v3"}
    assert server.ask("shop-v3")
