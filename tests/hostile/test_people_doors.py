"""The APIs of people: whatever an admin's browser, script or stolen key sends is answered or refused, never a fault."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import strategies as st

from shared.auth import create_key
from tests.builders import make_id
from tests.hostile.fuzzing import POISON, SECONDS, damaged, damaged_bytes, fuzz, poisons
from tests.integration.curator.erasure_scene import start
from tests.integration.curator.scene import open_curator
from tests.integration.deployer.conftest import model_server, setup
from tests.integration.deployer.scene import Setup
from tests.integration.evaluator.conftest import room
from tests.integration.evaluator.scene import Room, open_voting
from tests.integration.trainer.conftest import client, engine, sessions
from tests.integration.trainer.scene import Sessions

__all__ = ["client", "engine", "model_server", "room", "sessions", "setup"]

pytestmark = pytest.mark.hostile

COMPARISON = {
    "comparison_id": str(make_id(5)),
    "rollout_id": str(make_id(7)),
    "champion": {"failed": False, "refused": False, "words": 4, "seconds": 0.5},
    "candidate": {"failed": False, "refused": True, "words": 10, "seconds": 1.5},
    "user_group": 7,
    "preference": 0.5,
}
"""What a gateway tells the deployer of a shadow."""
SHARE = 0.25
"""Of the time, for each service."""
KNOWN = (
    *(str(make_id(number)) for number in (1, 7, 900)),
    "1",
    "2",
    "user",
    "key",
    "accept",
    "pair",
    "dataset",
    "pause",
)
TEXTS = (*KNOWN, *(part for part in POISON if isinstance(part, str) and part and len(part) < 5_000), "a" * 3_000)
BODIES: dict[str, Any] = {
    "reason": "a script",
    "user_id": "ines@shop",
    "even_unknown": True,
    "vote": "left",
    "recipes": ["demo_tiny"],
    "approval_hash": "0" * 64,
    "version": "1",
    "generation": 1,
    "unchecked": True,
    "message": "x",
}


@dataclass(frozen=True)
class Door:
    """One service's API and somebody's headers."""

    client: TestClient
    key: str

    def list_operations(self) -> list[tuple[str, str, list[str]]]:
        """(method, path, names in the query) of everything under /v1."""
        paths = self.client.app.openapi()["paths"]  # type: ignore[attr-defined]
        return [
            (method, path, [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"])
            for path, methods in paths.items()
            for method, operation in methods.items()
            if path.startswith("/v1")
        ]

    def draw(self) -> st.SearchStrategy[tuple[str, str, dict[str, str], Any]]:
        return st.sampled_from(self.list_operations()).flatmap(draw_request)

    def check(self, request: tuple[str, str, dict[str, str], Any]) -> None:
        method, path, query, body = request
        headers = {"authorization": f"Bearer {self.key}"}
        asked = "&".join(f"{name}={make_printable(value)}" for name, value in query.items())
        sent: dict[str, Any] = {}
        if method != "get":
            sent = {"content": body, "headers": headers | {"content-type": "application/json"}}
        answer = self.client.request(method.upper(), f"{path}?{asked}", **{"headers": headers} | sent)
        assert answer.status_code < 500, f"{method} {path}?{asked[:200]} {str(body)[:200]}: {answer.text[:300]}"


def make_printable(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@st.composite
def draw_request(draw: st.DrawFn, operation: tuple[str, str, list[str]]) -> tuple[str, str, dict[str, str], bytes]:
    method, template, names = operation
    text = st.sampled_from(TEXTS) | st.text(min_size=1, max_size=30)
    parts = [make_printable(draw(text)) if part.startswith("{") else part for part in template.split("/")]
    query = {name: draw(text) for name in names if draw(st.booleans())}
    body = draw(damaged(BODIES) | st.dictionaries(st.sampled_from(sorted(BODIES)), poisons(), max_size=3) | poisons())
    return method, "/".join(parts), query, json.dumps(body).encode()


def knock(door: Door) -> None:
    assert fuzz(door.draw(), door.check, SHARE * SECONDS)


def test_the_curators_api(database_url: str, tmp_path: Path) -> None:
    with open_curator(database_url, tmp_path / "home") as curator:
        start(curator)
        knock(Door(curator.client, curator.keys["admin"]))


def test_the_deployers_api(setup: Setup) -> None:
    setup.start_canary()
    knock(Door(setup.client, setup.keys["admin"]))


def test_what_a_gateway_tells_of_a_shadow(setup: Setup) -> None:
    setup.configure(shadow_percent=10)
    rollout = setup.start_canary()
    door, path = Door(setup.client, setup.keys["internal"]), "/v1/shadow-comparisons"

    def check(body: bytes) -> None:
        door.check(("post", path, {}, body))

    assert fuzz(damaged_bytes(COMPARISON | {"rollout_id": rollout["rollout_id"]}), check, SHARE * SECONDS)
    setup.reconciler.reconcile()
    assert setup.load(rollout)["state"] == "canary"


def test_the_evaluators_api(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    knock(Door(room.client, room.keys["admin"]))


def test_the_trainers_api(client: TestClient, sessions: Sessions) -> None:
    with sessions() as session, session.begin():
        key = create_key(session, "an admin", "admin")
    client.app.state.keys.refresh()  # type: ignore[attr-defined]
    knock(Door(client, key))
