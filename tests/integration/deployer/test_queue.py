"""Candidates that wait, and the way back to champions of before."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from services.deployer.adapters.openai_endpoints import OpenAIEndpoints
from services.deployer.tasks import measure
from shared.errors import Conflict
from shared.registry import ModelVersion
from shared.tables.curator import Dataset
from tests.integration.deployer.scene import HASHES, Setup
from tests.integration.deployer.test_guardrails import FAILED, look, serve, usual


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


def harm(setup: Setup, rollout: dict[str, Any], *, promoted: str, before: str) -> dict[str, Any]:
    """Have the users of a promoted version blame it, and those of the holdback praise what they have."""
    setup.clock.pass_seconds(1)
    new, old = ({"model_version": each, "intended_version": each} for each in (promoted, before))
    serve(setup, rollout, 60, champion=lambda n: usual(n) | old, canary=lambda n: {"up": n % 5 == 0} | new, tag="later")
    return look(setup, rollout)


def test_harm_after_a_promotion_brings_no_tainted_champion_back_and_a_person_is_asked(setup: Setup):
    setup.configure(webhook_urls=SecretStr("https://hooks.example/a"), webhook_hosts=["hooks.example"])
    setup.register_candidate("3")
    promote(setup, "2", "1")
    newest = promote(setup, "3", "2")
    with setup.sessions() as session, session.begin():
        session.add(Dataset(dataset_sha256=HASHES["dataset_sha256"], uri="", manifest={}, erased_at=setup.clock()))
    found = harm(setup, newest, promoted="3", before="2")
    look(setup, newest)
    assert (found["state"], setup.call("GET", "/v1/routing").json()["champion"]["version"]) == ("champion", "3")
    assert "version 2 cannot come back" in found["evidence"]["rollback_obstacle"]
    assert "version 1 is the newest that could" in found["evidence"]["summary"]
    notices = setup.call("GET", "/v1/notices", role="ops").json()["notices"]
    assert [each["kind"] for each in notices].count("rollback_needed") == 1
    measure(setup.sessions, setup.rollouts)
    assert REGISTRY.get_sample_value("heliotrope_rollback_needed") == 1
    answer = setup.call("POST", "/v1/rollback", body={"reason": "as it says", "version": "1"})
    assert (answer.status_code, answer.json()["champion"]["version"]) == (200, "1")
    measure(setup.sessions, setup.rollouts)
    assert REGISTRY.get_sample_value("heliotrope_rollback_needed") == 0


def test_harm_after_a_promotion_waits_for_the_old_champions_server_and_then_goes_back(setup: Setup):
    [url] = setup.serving.urls
    rollout = promote(setup, "2", "1")
    setup.serving.urls[:] = ["http://127.0.0.1:1/v1"]
    found = harm(setup, rollout, promoted="2", before="1")
    assert (found["state"], found["evidence"]["rollback_obstacle"].endswith("its model server does not answer")) == (
        "champion",
        True,
    )
    setup.serving.urls[:] = [url]
    assert look(setup, rollout)["state"] == "rolled_back"
    champion = setup.call("GET", "/v1/routing").json()["champion"]
    assert (champion["version"], champion["base_url"]) == ("1", url)


def test_a_registry_that_is_away_keeps_no_harm_from_being_rolled_back(setup: Setup):
    rollout = promote(setup, "2", "1")

    class Away:
        def load_version(self, version: str) -> ModelVersion:
            raise ConnectionError("no route to the registry")

    object.__setattr__(setup.binding, "registry", Away())
    assert harm(setup, rollout, promoted="2", before="1")["state"] == "rolled_back"
    assert setup.call("GET", "/v1/routing").json()["champion"]["version"] == "1"


@pytest.fixture
def tripped(setup: Setup) -> tuple[Setup, dict[str, Any]]:
    """Return a promoted version that the breaker alone finds broken while the old one's server does not answer."""
    setup.configure(exposure_seconds=86_400)
    rollout = promote(setup, "2", "1")
    setup.clock.pass_seconds(1)
    served, setup.serving.urls[:] = setup.serving.urls[:], ["http://127.0.0.1:1/v1"]
    serve(setup, rollout, 20, champion=usual, canary=lambda n: usual(n) | FAILED, tag="later")
    found = look(setup, rollout)
    assert (found["state"], "rollback_obstacle" in found["evidence"]) == ("champion", True)
    setup.serving.urls[:] = served
    return setup, rollout


def test_a_trip_of_the_breaker_while_the_old_server_was_away_brings_it_back_later(tripped: tuple[Setup, Any]):
    setup, rollout = tripped
    found = look(setup, rollout)
    assert (found["state"], found["summary"].startswith("20 of the last 20 canary answers failed")) == (
        "rolled_back",
        True,
    )


def test_a_later_look_that_finds_no_harm_asks_nobody_any_more(tripped: tuple[Setup, Any]):
    setup, rollout = tripped
    serve(setup, rollout, 150, champion=usual, canary=usual, tag="mended")
    found = look(setup, rollout)
    assert found["state"] == "champion"
    assert not {"rollback_obstacle", "rollback_decided"} & found["evidence"].keys()
    measure(setup.sessions, setup.rollouts)
    assert REGISTRY.get_sample_value("heliotrope_rollback_needed") == 0


def test_a_small_holdback_of_which_nobody_comes_leaves_no_broken_champion(setup: Setup):
    setup.configure(exposure_seconds=86_400)
    rollout = promote(setup, "2", "1")
    setup.clock.pass_seconds(1)
    for answers, state in ((6, "champion"), (1, "rolled_back")):  # of eight users
        for _ in range(answers):
            serve(setup, rollout, 8, champion=usual, canary=lambda n: usual(n) | FAILED, beside=0)
        assert look(setup, rollout)["state"] == state
    evidence = setup.load(rollout)["evidence"]
    assert (evidence["holdback_looks"]["taken"], evidence["breaker"]["served"]) == (1, 56)
