"""What an endpoint's finish reason says of its answer."""

import httpx
import pytest

from services.evaluator.adapters.openai_endpoint import OpenAIEndpoint, Place
from services.evaluator.ports import EndpointFailed


def make_endpoint(finish: object) -> OpenAIEndpoint:
    choice = {"message": {"content": "Which one?"}, "finish_reason": finish}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"choices": [choice]}))
    return OpenAIEndpoint(Place("http://judge.example/v1", "m"), transport=transport, pause_seconds=0.0)


@pytest.mark.parametrize(
    ("finish", "is_cut"),
    [("stop", False), (None, False), ("length", True), ("model_length", True), ("content_filter", True), ("new", True)],
)
def test_only_a_whole_answer_is_not_cut(finish: str | None, is_cut: bool):
    reply = make_endpoint(finish).answer([], max_tokens=9, seed=0, greedy=True)
    assert (reply.text, reply.is_cut) == ("Which one?", is_cut)


def test_an_answer_that_broke_off_is_a_failure():
    with pytest.raises(EndpointFailed, match="insufficient_system_resource"):
        make_endpoint("insufficient_system_resource").answer([], max_tokens=9, seed=0, greedy=True)
