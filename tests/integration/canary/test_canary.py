"""What becomes of candidates on a running deployment, by what their users do."""

import sys
import time
from datetime import datetime
from typing import Any

import pytest

from tests.faults.saboteur import Saboteur, wait_until
from tests.integration.canary.models import Behaviour
from tests.integration.canary.town import Town, pleased

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's
]


def is_closed(rollout: dict[str, Any]) -> bool:
    return rollout["closed_at"] is not None


def read(rollout: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(each) for each in rollout["evidence"]["guardrails"] if each["name"] == name)


def test_a_good_candidate_reaches_everybody(town: Town):
    champion, rollout = town.champion, town.start()
    with town.users(pleased({champion: 0.4, rollout["candidate_version"]: 0.95})):
        ended = town.wait(rollout, is_closed, 180)
    assert ended["state"] == "champion", ended["summary"]
    assert [stage["percent"] for stage in ended["stages"]] == [25, 50, 100]
    assert {stage["ended_by"] for stage in ended["stages"]} == {"advance"}
    assert town.champion == rollout["candidate_version"]


def test_a_worse_candidate_is_rolled_back_and_answers_nobody_seconds_later(town: Town, capsys: Any):
    champion, rollout = town.champion, town.start()
    worse = rollout["candidate_version"]
    with town.users(pleased({champion: 0.8, worse: 0.1})) as served:
        ended = town.wait(rollout, is_closed, 120)
        until = datetime.fromisoformat(ended["closed_at"]).timestamp() + 5
        town.wait(rollout, lambda _: max(at for at, _ in served.answers) > until)
    assert ended["state"] == "rolled_back", ended["summary"]
    last = served.last_of(worse)
    assert last is not None
    tick, decided = 0.5, datetime.fromisoformat(ended["closed_at"]).timestamp()
    seconds = max(last - decided, 0.0) + tick  # a look finds what has happened since the one before
    with capsys.disabled():
        canary = sum(version == worse for _, version in served.answers)
        sys.stdout.write(
            f"\nfrom breach to the last canary answer: at most {seconds:.2f} s; {canary} canary answers in all\n"
        )
    assert seconds < 5


def test_a_candidate_whose_thumbs_down_button_is_broken_is_held(town: Town):
    champion, rollout = town.champion, town.start()
    canary = rollout["candidate_version"]
    react = pleased({champion: 0.6, canary: 0.6})
    with town.users(
        lambda number, version: said if (said := react(number, version)) == "up" or version != canary else None
    ):
        held = town.wait(rollout, lambda found: "held" in found["evidence"].get("summary", ""), 120)
    assert (held["state"], held["stage"]) == ("canary", 0)
    assert read(held, "response_rate")["is_breached"]


@pytest.mark.parametrize(
    ("behaviour", "guardrail"),
    [
        (Behaviour(seconds=1.5), "latency"),
        (Behaviour(empty_every=2), "errors|failed"),
        (Behaviour(fails_on="team-1"), "errors|failed"),
    ],
    ids=["only slower", "only refuses more", "only fails for one cluster"],
)
def test_a_candidate_that_is_worse_in_one_way_is_rolled_back_for_it(town: Town, behaviour: Behaviour, guardrail: str):
    rollout = town.start(behaviour)
    with town.users(pleased({}, 0.7)):
        ended = town.wait(rollout, is_closed, 180)
    assert ended["state"] == "rolled_back", ended["summary"]
    assert any(name in ended["summary"] for name in guardrail.split("|")), ended["summary"]
    assert town.champion == rollout["champion_version"]


def test_a_gateway_that_is_cut_off_for_longer_than_its_limit_serves_the_champion(town: Town):
    rollout = town.start(minimum_seconds=3_600)
    canary, saboteur = rollout["candidate_version"], Saboteur(town.stack)
    with town.users(lambda *_: None, pause=0.3) as served:
        wait_until(lambda: served.last_of(canary) is not None, "the canary is served", 20)
        with saboteur.stopped("deployer"), saboteur.stopped("broker"):
            time.sleep(15)
            before = len(served.answers)
            wait_until(lambda: len(served.answers) > before + 30, "users are served", 30)
            alone = served.answers[before:]
        assert {version for _, version in alone} == {rollout["champion_version"]}
        back = time.time()
        wait_until(lambda: (served.last_of(canary) or 0) > back, "the canary is served again", 30)


def test_traffic_that_dries_up_is_held_and_then_closed_with_the_reason(town: Town):
    rollout = town.start(deadline_seconds=20)
    with town.users(pleased({}, 0.5), pause=0.5):
        held = town.wait(rollout, lambda found: sum(found["evidence"].get("users", {}).values()) > 3, 60)
    assert (held["state"], held["stage"]) == ("canary", 0)
    ended = town.wait(rollout, is_closed, 60)
    assert (ended["state"], ended["summary"].split(" in ")[0]) == ("aborted", "undecided after 0.000231 days")
    assert "votes needed" in ended["summary"] or "more users" in ended["summary"] or "e-value" in ended["summary"]


def test_a_candidate_is_asked_in_secret_before_its_first_users(town: Town):
    with town.users(pleased({}, 0.7), pause=0.05) as served:
        rollout = town.begin(shadow_percent=100, shadow_prompts=40)
        canary = rollout["candidate_version"]
        town.wait(rollout, lambda found: found["evidence"].get("shadow", {}).get("prompts", 0) > 5)
        assert served.last_of(canary) is None
        started = town.wait(rollout, lambda found: found["stage"] == 0)
        wait_until(lambda: served.last_of(canary) is not None, "the canary is served", 20)
    shadow = started["evidence"]["shadow"]
    assert (shadow["prompts"] >= 40, shadow["passed_at"] is not None) == (True, True)


@pytest.mark.parametrize(
    ("behaviour", "guardrail"),
    [(Behaviour(fails_on="team-"), "failures"), (Behaviour(seconds=1.5), "latency")],
    ids=["fails", "is slow"],
)
def test_a_candidate_that_is_worse_in_secret_is_ended_and_nobody_was_served_by_it(
    town: Town, behaviour: Behaviour, guardrail: str
):
    with town.users(pleased({}, 0.7), pause=0.05) as served:
        rollout = town.begin(behaviour, shadow_percent=100, shadow_prompts=400)
        ended = town.wait(rollout, is_closed, 120)
    assert (ended["state"], f"worse in its shadow: {guardrail}" in ended["summary"]) == ("aborted", True), ended
    assert served.last_of(rollout["candidate_version"]) is None
    assert town.champion == rollout["champion_version"]
