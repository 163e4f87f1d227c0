"""A key that is taken away opens nothing within seconds, and what must stay secret is in no log."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from shared.auth import create_key, revoke_key, rotate_key
from shared.ids import new_id
from tests.integration.edge.conftest import ANSWER, Edge

SAID = "the purple kettle sings"
ASKED = "where is my crimson parcel"
FORGED = "hk_0123456789ab_" + "f" * 43
USER = "grace.hopper@shop.example"


def thumb(**fields: Any) -> dict[str, Any]:
    return {"type": "thumb", "interaction_id": str(new_id()), "value": "up"} | fields


def find_statuses(edge: Edge, key: str) -> tuple[int, int]:
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(headers=headers, timeout=10) as client:
        ingest = client.post(f"{edge.ingest}/v1/feedback", json=thumb())
        return ingest.status_code, client.get(f"{edge.gateway}/v1/models").status_code


def wait_for(edge: Edge, key: str, statuses: tuple[int, int]) -> float:
    """Seconds until ingest and gateway answer so."""
    started = time.monotonic()
    while find_statuses(edge, key) != statuses:
        assert time.monotonic() - started < 15, f"{find_statuses(edge, key)}, not {statuses}"
        time.sleep(0.1)
    return time.monotonic() - started


def test_processes_that_run_learn_of_new_rotated_and_revoked_keys_within_seconds(edge: Edge):
    engine = create_engine(edge.stack.connections.database_url)
    with Session(engine) as session, session.begin():
        key = create_key(session, "shop", "frontend")
    took = [wait_for(edge, key, (202, 200))]
    key_id = key.split("_")[1]
    with Session(engine) as session, session.begin():
        rotated = rotate_key(session, key_id, timedelta(), datetime.now(UTC))
    took += [wait_for(edge, rotated, (202, 200)), wait_for(edge, key, (401, 401))]
    with Session(engine) as session, session.begin():
        revoke_key(session, key_id)
    took.append(wait_for(edge, rotated, (401, 401)))
    engine.dispose()
    assert max(took) < 10


def say_everything(edge: Edge) -> list[str]:
    """Things that are stored and things that are refused, in every way there is; the tokens that it was given."""
    key = {"authorization": f"Bearer {edge.key}"}
    with httpx.Client(timeout=20) as client:

        def post(path: str, body: Any, headers: dict[str, str] = key) -> httpx.Response:
            return client.post(f"{edge.gateway if 'chat' in path else edge.ingest}{path}", json=body, headers=headers)

        comment = thumb(user_id=USER) | {"type": "comment", "text": SAID}
        del comment["value"]
        assert post("/v1/feedback", comment).status_code == 202
        assert post("/v1/feedback", thumb(value=SAID)).status_code == 422
        assert post("/v1/feedback", thumb(**{SAID: USER})).status_code == 422
        assert post("/v1/feedback/batch", {"events": [comment, comment | {"text": [SAID]}]}).status_code == 200
        assert client.post(f"{edge.ingest}/v1/feedback", content=f"{{{SAID}", headers=key).status_code == 400
        assert post("/v1/feedback", comment, {"authorization": f"Bearer {FORGED}"}).status_code == 401
        assert post("/v1/feedback", comment, {"x-heliotrope-feedback-token": FORGED}).status_code == 401
        asked = {"interaction_id": str(new_id()), "user_id": USER}
        assert client.get(f"{edge.ingest}/v1/feedback", params=asked, headers=key).status_code == 404
        chat = {"model": "heliotrope", "user": USER, "messages": [{"role": "user", "content": ASKED}]}
        answer = post("/v1/chat/completions", chat)
        assert answer.status_code == 200
        streamed = post("/v1/chat/completions", chat | {"stream": True})
        assert streamed.status_code == 200
        failing = chat | {"messages": [{"role": "user", "content": f"{ASKED}: fail"}]}
        assert post("/v1/chat/completions", failing).status_code == 500
        assert post("/v1/chat/completions", chat | {"messages": [ASKED]}).status_code == 400
        assert post("/v1/chat/completions", chat, {"authorization": f"Bearer {FORGED}"}).status_code == 401
        token = answer.json()["heliotrope"]["feedback_token"]
        mine = thumb(interaction_id=answer.json()["heliotrope"]["interaction_ids"][0])
        assert post("/v1/feedback", mine, {"x-heliotrope-feedback-token": token}).status_code == 202
        assert post("/v1/feedback", thumb(), {"x-heliotrope-feedback-token": token}).status_code == 403
    return [token, streamed.headers["x-heliotrope-feedback-token"]]


def test_no_log_holds_a_key_a_token_a_secret_or_a_users_words(edge: Edge):
    tokens = say_everything(edge)
    secrets = edge.stack.secrets
    hidden = {
        **{f"token {number}": token for number, token in enumerate(tokens)},
        **{f"key of {role}": key.split("_", 2)[2] for role, key in edge.stack.credentials.items()},
        "forged": FORGED,
        **{name: secret for name in type(secrets).__dataclass_fields__ if (secret := getattr(secrets, name))},
        "what was said": SAID,
        "what was asked": ASKED,
        "the answer": ANSWER,
        "the user": USER,
    }
    logs = {path.name: path.read_text(errors="replace") for path in edge.stack.layout.logs.glob("*.log")}
    for service in ("ingest", "gateway"):
        assert logs[f"{service}.log"]
    found = [(name, words) for name, text in logs.items() for words, secret in hidden.items() if secret in text]
    assert found == []
