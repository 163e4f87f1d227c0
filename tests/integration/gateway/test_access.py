"""Roles, refusals, and a second process."""

from pathlib import Path

import httpx
import openai
import pytest

from services.gateway.bootstrap import create
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import MESSAGES, RunningGateway
from tests.integration.gateway.model_server import ANSWER, serve


def test_operators_probe_versions_and_leave_no_trace(gateway: RunningGateway):
    gateway.roll_out("1", canary="2", percent=1)
    for role in ("ops", "admin"):
        reply = gateway.client(role).chat.completions.create(model="2", messages=MESSAGES)
        assert reply.choices[0].message.content == ANSWER
        assert reply.heliotrope["model_version"] == "2"  # type: ignore[attr-defined]
    assert [model.id for model in gateway.client("ops").models.list()] == ["1", "2"]
    assert [model.id for model in gateway.client().models.list()] == ["heliotrope"]
    with pytest.raises(openai.PermissionDeniedError):
        gateway.client("ops").chat.completions.create(model="heliotrope", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError) as caught:
        gateway.client().chat.completions.create(model="2", messages=MESSAGES)
    assert caught.value.code == "model_not_found"
    assert gateway.recorded(0) == []


def test_refusals_speak_openais_language(gateway: RunningGateway):
    post = f"{gateway.url}/v1/chat/completions"
    headers = {"authorization": f"Bearer {gateway.keys['frontend']}"}
    with pytest.raises(openai.AuthenticationError) as caught:
        gateway.client_with("hk_wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        gateway.client("rater").models.list()
    with pytest.raises(openai.InternalServerError) as early:
        gateway.client().chat.completions.create(model="heliotrope", messages=MESSAGES)
    assert (early.value.status_code, early.value.code) == (503, "no_routing_table")
    not_json = httpx.post(post, content=b"model=heliotrope", headers=headers)
    assert (not_json.status_code, not_json.json()["error"]["type"]) == (400, "invalid_request_error")
    wrong = httpx.post(post, json={"model": "heliotrope", "messages": []}, headers=headers)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "messages")
    assert httpx.get(f"{gateway.url}/v1/nothing").json()["error"]["message"] == "Not Found"


def test_a_second_process_starts_without_kafka_or_deployer_and_sends_later_what_was_spooled(
    gateway: RunningGateway, tmp_path: Path
):
    gateway.roll_out("1")
    alone = gateway.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"})
    own = GatewaySettings(deployer_url="http://127.0.0.1:9", state_dir=tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "routing.json").write_bytes((tmp_path / "gateway" / "routing.json").read_bytes())
    body = {"model": "heliotrope", "messages": MESSAGES}
    headers = {"authorization": f"Bearer {gateway.keys['frontend']}"}
    with serve(create(alone, own)) as url:
        assert httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers).status_code == 200
    with serve(create(gateway.settings, own)):
        [event] = gateway.recorded(1)
    assert event.answer == ANSWER
