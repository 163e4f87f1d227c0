"""The local stack's model server: what a user's request may carry through the gateway, and what may not end it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hostile.fuzzing import damaged_bytes, fuzz
from tests.hostile.test_servers import ANSWER_SECONDS, CHAT
from tests.unit.local.model_server.serving import CONTEXT
from tests.unit.local.model_server.test_http import Running
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

DRAWN: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 0.5,
    "top_k": 5,
    "repetition_penalty": 1.1,
    "seed": 7,
    "stop": ["now"],
    "logprobs": True,
    "top_logprobs": 2,
}
ASKED = CHAT | DRAWN | {"model": "base", "max_tokens": 4}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    running = Running(8, 10 * CONTEXT)
    assert running.load("base", save_tiny_model(tmp_path / "base")).status_code == 200
    yield running
    running.stop()


def test_the_model_server_answers_or_refuses_and_goes_on(server: Running) -> None:
    url = f"{server.url}/v1/chat/completions"
    with httpx.Client(timeout=ANSWER_SECONDS) as client:

        def check(content: bytes) -> None:
            answer = client.post(url, content=content)
            assert answer.status_code in {200, 400, 404, 413}, answer.text[:500]
            assert server.worker.problem is None

        assert fuzz(damaged_bytes(ASKED, ASKED | {"stream": True}), check)
        assert client.post(url, content=json.dumps(ASKED)).status_code == 200
