"""Candidates that wait, and the way back to champions of before."""

from dataclasses import replace
from typing import Any

import pytest

from services.deployer.adapters.openai_endpoints import OpenAIEndpoints
from shared.errors import Conflict
from shared.tables.curator import Dataset
from tests.integration.deployer.scene import HASHES, Setup


@pytest.fixture(autouse=True)
def one_server(setup: Setup) -> None:
    """Every version is served by the one model server that there is."""
    del setup.serving.urls[0]


def promote(setup: Setup, version: str, champion: str) -> dict[str, Any]:
    rollout = setup.open_rollout(candidate_version=version, champion_version=champion)
    assert setup.approve(rollout).status_code == 200
    setup.reconciler.reconcile()
    path = f"/v1/rollouts/{rollout['rollout_id']}/promote"
    assert setup.call("POST", path, body={"reason": "sure"}).status_code == 200
    return rollout


def test_the_newest_candidate_supersedes_those_that_wait(setup: Setup):
    setup.register_candidate("3")
    older, newer = setup.open_rollout(), setup.open_rollout(candidate_version="3")
    setup.reconciler.reconcile()
    closed = setup.load(older)
    assert (closed["state"], closed["summary"]) == ("rejected", "superseded by version 3, which passed its gates later")
    assert setup.load(newer)["state"] == "awaiting_approval"


def test_a_candidate_judged_against_a_former_champion_is_closed_at_once(setup: Setup):
    running, waiting = setup.start_canary(), setup.open_rollout()
    setup.reconciler.reconcile()
    assert setup.load(waiting)["state"] == "awaiting_approval"
    setup.call("POST", f"/v1/rollouts/{running['rollout_id']}/promote", body={"reason": "sure"})
    setup.reconciler.reconcile()
    closed = setup.load(waiting)
    assert (closed["state"], closed["summary"]) == ("rejected", "judged against version 1, and 2 is champion now")


def test_any_earlier_champion_can_come_back_in_one_call(setup: Setup):
    setup.register_candidate("3")
    promote(setup, "2", "1")
    newest = promote(setup, "3", "2")
    answer = setup.call("POST", "/v1/rollback", body={"reason": "odd", "version": "1"})
    assert (answer.status_code, answer.json()["champion"]["version"]) == (200, "1")
    assert setup.load(newest)["state"] == "rolled_back"
    assert setup.call("POST", "/v1/rollback", body={"reason": "odd", "version": "1"}).status_code == 409
    assert setup.call("POST", "/v1/rollback", body={"reason": "odd", "version": "7"}).status_code == 409
    again = setup.call("POST", "/v1/rollback", body={"reason": "it was fine", "version": "2"})
    assert again.json()["champion"]["version"] == "2"
    log = setup.call("GET", "/v1/audit", role="ops").json()
    assert log["verified"]
    assert [line["detail"].get("to_version") for line in log["entries"]][-2:] == ["1", "2"]


def test_a_champion_that_is_not_served_or_was_trained_on_an_erased_user_does_not_come_back(setup: Setup):
    setup.register_candidate("3")
    promote(setup, "2", "1")
    promote(setup, "3", "2")
    caller = setup.client.app.state.keys.authenticate(f"Bearer {setup.keys['admin']}")  # type: ignore[attr-defined]
    dead = OpenAIEndpoints(["http://127.0.0.1:1/v1"], deadline_seconds=1)
    with pytest.raises(Conflict, match="version 2 is not served"):
        replace(setup.commands, serving=dead).roll_back(caller, summary="odd")
    with setup.sessions() as session, session.begin():
        session.add(Dataset(dataset_sha256=HASHES["dataset_sha256"], uri="", manifest={}, erased_at=setup.clock()))
    tainted = setup.call("POST", "/v1/rollback", body={"reason": "odd", "version": "2"})
    assert tainted.json()["title"] == "Candidate trained on an erased user"
    assert setup.call("GET", "/v1/routing").json()["champion"]["version"] == "3"
    back = replace(setup.commands, serving=setup.serving).roll_back(caller, summary="odd", version="1")
    assert back.champion.version == "1"


def test_an_admin_can_roll_back_while_no_model_server_answers(setup: Setup):
    promote(setup, "2", "1")
    caller = setup.client.app.state.keys.authenticate(f"Bearer {setup.keys['admin']}")  # type: ignore[attr-defined]
    dead = replace(setup.commands, serving=OpenAIEndpoints(["http://127.0.0.1:1/v1"], deadline_seconds=1))
    with pytest.raises(Conflict, match="with `unchecked` it comes back"):
        dead.roll_back(caller, summary="odd")
    assert dead.roll_back(caller, summary="odd", unchecked=True).champion.version == "1"
