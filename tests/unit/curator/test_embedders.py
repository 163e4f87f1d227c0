"""Other embedders: an OpenAI-compatible endpoint and its failures, a model's folder, and which one settings choose."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from services.curator.cells.adapters.choice import open_embedder
from services.curator.cells.adapters.endpoint import BATCH, EndpointEmbedder
from services.curator.cells.adapters.sentence_transformer import SentenceTransformerEmbedder
from services.curator.config.settings import CuratorSettings
from shared.errors import Unavailable

Answer = Callable[[httpx.Request], httpx.Response]


def open_endpoint(answer: Answer) -> EndpointEmbedder:
    return EndpointEmbedder("http://embeddings/v1", "acme/e5 large", "secret", httpx.MockTransport(answer))


def answer_backwards(request: httpx.Request) -> httpx.Response:
    """A vector of each text's length, the last text first, as an endpoint may."""
    texts = json.loads(request.content)["input"]
    data = [{"index": at, "embedding": [float(len(text)), 1.0]} for at, text in enumerate(texts)]
    return httpx.Response(200, json={"data": data[::-1]})


def test_an_endpoints_vectors_come_in_the_order_of_the_texts() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answer_backwards(request)

    embedder = open_endpoint(answer)
    vectors = embedder.embed(["x" * count for count in range(1, BATCH + 3)])
    assert embedder.version == "endpoint-acme-e5-large"
    assert [str(request.url) for request in seen] == ["http://embeddings/v1/embeddings"] * 2
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert json.loads(seen[0].content)["model"] == "acme/e5 large"
    assert np.allclose(vectors[:, 0] / vectors[:, 1], range(1, BATCH + 3), rtol=1e-3)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert len(embedder.embed([])) == 0
    assert json.loads(seen[-1].content)["input"] != [""]


def test_an_endpoint_that_stumbles_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.curator.cells.adapters.endpoint.PAUSE_SECONDS", 0)
    tried: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        tried.append(1)
        if len(tried) == 1:
            raise httpx.ReadTimeout("slow", request=request)
        return httpx.Response(503) if len(tried) == 2 else answer_backwards(request)

    assert open_endpoint(answer).embed(["a"]).shape == (1, 2)
    assert len(tried) == 3


@pytest.mark.parametrize(
    "answer, said, tries",
    [
        (httpx.Response(401), "HTTP 401", 1),
        (httpx.Response(500), "HTTP 500", 4),
        (httpx.Response(200, json={"data": []}), "0 vectors for 1", 1),
        (httpx.Response(200, json={"error": "model not found"}), "cannot be read", 1),
        (httpx.Response(200, text="<html>"), "cannot be read", 1),
        (httpx.Response(200, json={"data": [{"index": 0, "embedding": ["x"]}]}), "cannot be read", 1),
    ],
)
def test_what_an_endpoint_answers_instead_of_vectors_is_said(
    answer: httpx.Response, said: str, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.curator.cells.adapters.endpoint.PAUSE_SECONDS", 0)
    tried: list[int] = []

    def give(_: httpx.Request) -> httpx.Response:
        tried.append(1)
        return answer

    with pytest.raises(Unavailable, match=said):
        open_endpoint(give).embed(["a"])
    assert len(tried) == tries


def test_a_folders_version_is_what_its_files_are(tmp_path: Path) -> None:
    def make(name: str, weights: str) -> SentenceTransformerEmbedder:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(weights)
        return SentenceTransformerEmbedder(tmp_path / name)

    one, copy, other = make("one", "a"), make("copy", "a"), make("other", "b")
    assert one.version == copy.version != other.version


@pytest.mark.parametrize(
    "settings, version",
    [
        ({}, "use-m3"),
        ({"embedder_url": "http://e/v1", "embedder_model": "bge-m3"}, "endpoint-bge-m3"),
        ({"embedder_folder": Path(__file__).parent}, "st-"),
    ],
)
def test_settings_choose_the_embedder(settings: dict[str, Any], version: str) -> None:
    assert open_embedder(CuratorSettings(**settings)).version.startswith(version)


@pytest.mark.parametrize(
    "settings, field",
    [({"embedder_folder": "/nowhere"}, "embedder_folder"), ({"embedder_url": "http://e/v1"}, "embedder_model")],
)
def test_settings_that_name_no_model_are_refused(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        CuratorSettings(**settings)
