"""A candidate in its shadow: asked what the champion has answered, at nobody's cost, and nobody sees it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from services.gateway.settings import GatewaySettings
from tests.integration.gateway.dialects import choose
from tests.integration.gateway.model_server import wait_until
from tests.integration.gateway.scripted import (
    MESSAGES,
    SHADOWED,
    Script,
    make_events,
    make_reply,
    open_gateway,
    play,
    read_stream,
)


def say(text: str, **message: Any) -> list[bytes]:
    return make_reply(json.dumps(choose({"content": text} | message)).encode(), "application/json")


HANGS_SECONDS = 200.0
FAILED = make_reply(b'{"error": {"message": "out of memory"}}', "application/json", "500 Internal Server Error")
STREAM = make_reply(
    make_events({"choices": [{"index": 0, "delta": {"content": "Open Orders."}, "finish_reason": "stop"}]}, "[DONE]")
)


def test_the_champions_answer_is_asked_of_the_candidate_and_only_numbers_are_told(tmp_path: Path):
    answer, refusal = say("Open the page Orders."), say("I cannot help with that, I am sorry.")
    with open_gateway(tmp_path) as gateway, play(answer) as champion, play(refusal) as candidate:
        gateway.route_to(champion.url, shadow=candidate.url)
        reply = gateway.post(user="ada", tools=[{"type": "function", "function": {"name": "refund"}}])
        wait_until(lambda: gateway.compared)
        [event] = gateway.recorded()
    assert reply.json()["choices"][0]["message"]["content"] == event.answer == "Open the page Orders."
    assert (event.model_version, event.rollout_id) == ("1", None)  # no evidence about the candidate
    assert candidate.requests[0] == champion.requests[0] | {"model": "/models/2"}
    [told] = gateway.compared
    assert not [word for word in ("Orders", "ada", "help") if word in json.dumps(told)]
    assert (told["rollout_id"], told["preference"]) == (str(SHADOWED), None)
    assert told["user_group"] in range(1_000)
    sides = [{name: told[side][name] for name in ("failed", "refused", "words")} for side in ("champion", "candidate")]
    assert sides == [
        {"failed": False, "refused": False, "words": 4},
        {"failed": False, "refused": True, "words": 8},
    ]


def test_a_streamed_answer_is_asked_for_whole(tmp_path: Path):
    with open_gateway(tmp_path) as gateway, play(STREAM) as champion, play(say("Orders.")) as candidate:
        gateway.route_to(champion.url, shadow=candidate.url)
        reply = gateway.post(stream=True, stream_options={"include_usage": True})
        wait_until(lambda: gateway.compared)
    assert read_stream(reply)[-1] == "[DONE]"
    assert candidate.requests == [{"model": "/models/2", "messages": MESSAGES}]
    assert [gateway.compared[0][side]["words"] for side in ("champion", "candidate")] == [2, 1]


def test_a_candidate_has_as_long_for_its_whole_answer_as_the_champion_has_for_its_stream(tmp_path: Path):
    slow: Script = [1.0, *say("Orders.")]
    with (
        open_gateway(tmp_path, answer_timeout_seconds=0.3, stream_timeout_seconds=60) as gateway,
        play(STREAM) as champion,
        play(slow) as candidate,
    ):
        gateway.route_to(champion.url, shadow=candidate.url)
        gateway.post(stream=True)
        wait_until(lambda: gateway.compared)
    assert [gateway.compared[0][side]["failed"] for side in ("champion", "candidate")] == [False, False]


@pytest.mark.parametrize(
    ("scripts", "failed"),
    [((say("Hi"), FAILED), [False, True]), ((FAILED, say("Hi")), [True, False]), ((say("Hi"), say("")), [False, True])],
    ids=["the candidate fails", "the champion fails", "the candidate says nothing"],
)
def test_failures_of_either_are_told(tmp_path: Path, scripts: tuple[Script, Script], failed: list[bool]):
    with open_gateway(tmp_path) as gateway, play(scripts[0]) as champion, play(scripts[1]) as candidate:
        gateway.route_to(champion.url, shadow=candidate.url)
        gateway.post()
        wait_until(lambda: gateway.compared)
    assert [gateway.compared[0][side]["failed"] for side in ("champion", "candidate")] == failed


def test_a_request_that_is_at_fault_itself_is_not_mirrored(tmp_path: Path):
    refused = make_reply(b'{"error": {"message": "no such role"}}', "application/json", "400 Bad Request")
    with open_gateway(tmp_path) as gateway, play(refused, say("Hi")) as champion, play(say("Hi")) as candidate:
        gateway.route_to(champion.url, shadow=candidate.url)
        assert [gateway.post().status_code for _ in range(2)] == [400, 200]
        wait_until(lambda: gateway.compared)
        assert len(candidate.requests) == 1


def test_a_candidate_that_hangs_costs_users_nothing_and_what_finds_no_room_is_dropped(tmp_path: Path):
    with (
        open_gateway(tmp_path, shadow_waiting=2, shadow_requests=1) as gateway,
        play(say("Hi")) as champion,
        play([HANGS_SECONDS]) as candidate,
    ):
        gateway.route_to(champion.url, shadow=candidate.url)
        began = time.monotonic()
        assert [gateway.post(user=f"user-{n}").status_code for n in range(20)] == [200] * 20
        assert time.monotonic() - began < HANGS_SECONDS / 2
        assert len(candidate.requests) == 1  # one is asked, two wait, the rest was left out


def test_one_user_has_one_answer_waiting_and_is_one_group_throughout(tmp_path: Path):
    with (
        open_gateway(tmp_path, shadow_waiting=5, shadow_requests=1) as gateway,
        play(say("Hi")) as champion,
        play([HANGS_SECONDS]) as candidate,
    ):
        gateway.route_to(champion.url, shadow=candidate.url)
        gateway.post(user="mallory")
        wait_until(lambda: candidate.requests)
        for user in ("mallory", "mallory", "mallory", "ada"):
            gateway.post(user=user)
        wait_until(lambda: len(gateway.mirror.groups) == 2)
        assert gateway.mirror.queue.qsize() == 2


def test_the_share_is_that_of_the_table_and_a_withdrawn_shadow_is_asked_nothing(tmp_path: Path):
    with open_gateway(tmp_path) as gateway, play(say("Hi")) as champion, play(say("Hi")) as candidate:
        gateway.route_to(champion.url, shadow=candidate.url, percent=30)
        for number in range(60):
            gateway.post(user=f"user-{number}")
        time.sleep(0.3)
        asked = len(candidate.requests)
        assert 6 <= asked <= 32  # 18 on average; beyond, less than once in 1,000
        gateway.route_to(champion.url)
        gateway.post()
        time.sleep(0.2)
        assert len(candidate.requests) == asked


def test_a_judge_compares_the_texts_in_both_orders(tmp_path: Path):
    verdicts = (say('{"winner": "first"}'), say('{"winner": "first"}'), say('{"winner": "second"}'), say("Hm."))
    with play(*verdicts) as judge, play(say("Open Orders.")) as champion, play(say("Ask us.")) as candidate:
        settings = {"shadow_judge_url": judge.url, "shadow_judge_model": "umpire", "shadow_requests": 1}
        with open_gateway(tmp_path, **settings) as gateway:
            gateway.route_to(champion.url, shadow=candidate.url)
            gateway.post(user="ada")
            gateway.post(user="bob")
            wait_until(lambda: len(gateway.compared) == 2)
    assert [told["preference"] for told in gateway.compared] == [0.5, None]  # its seat won both times; it did not say
    first, second = (request["messages"][1]["content"] for request in judge.requests[:2])
    assert first.index("Ask us.") < first.index("Open Orders.")
    assert second.index("Open Orders.") < second.index("Ask us.")


def test_a_judge_without_a_model_is_refused_at_the_start():
    with pytest.raises(ValueError, match="shadow_judge_url and shadow_judge_model go together"):
        GatewaySettings(shadow_judge_url="http://judge/v1")
