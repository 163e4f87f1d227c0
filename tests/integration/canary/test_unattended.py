"""Turns without a person: approved by policy, promoted by evidence, confirmed by the holdback; one is stopped."""

import sys
from typing import Any

import pytest

from tests.integration.canary.test_canary import is_closed
from tests.integration.canary.town import Town, pleased

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's
]

RATES = (0.1, 0.4, 0.7, 0.97)
POLICY: dict[str, Any] = {"least_effect": 0.55, "per_week": 50, "veto_seconds": 1.0, "reason": "the week of the fair"}


def test_three_turns_without_a_person_and_a_fourth_that_is_stopped(town: Town, capsys: Any):
    if town.champion != "1":  # an adopted one, which nobody has to confirm
        town.call("POST", "/v1/rollback", {"reason": "begin anew", "version": "1"})
    answer = town.call("POST", "/v1/approval-policy", POLICY, key=town.sign_in("ada"))
    assert answer.status_code == 201, answer.text
    rates = {town.champion: RATES[0]}
    for rate in RATES[1:]:
        turn(town, rates, rate, capsys)
    harmful = town.open(low=0.6)
    rates[harmful["candidate_version"]] = 0.2
    with town.users(pleased(rates)):
        stopped = town.wait(harmful, is_closed, 120)
    assert (stopped["state"], stopped["approved_by"]) == ("rolled_back", "approval policy 1 (ada)")
    assert town.champion == harmful["champion_version"]
    policy = town.call("GET", "/v1/approval-policy").json()
    assert policy["not_in_force"] == "there was a rollback since it was set"
    log = town.call("GET", "/v1/audit?limit=1000").json()
    assert log["verified"]
    people = {entry["actor"] for entry in log["entries"] if entry["action"] in ("approve", "promote", "advance")}
    assert "local admin" not in people or len(people) > 1
    waiting = town.open(low=0.6)
    assert town.wait(waiting, lambda found: True)["approved_by"] is None


def turn(town: Town, rates: dict[str, float], rate: float, capsys: Any) -> None:
    """Let one better candidate go all the way, and its holdback speak."""
    rollout = town.open(low=0.6)
    rates[rollout["candidate_version"]] = rate
    with town.users(pleased(rates)):
        promoted = town.wait(rollout, is_closed, 180)
        assert (promoted["state"], promoted["approved_by"]) == ("champion", "approval policy 1 (ada)")
        confirmed = town.wait(rollout, lambda found: "confirmed" in found["evidence"], 180)
    since = confirmed["evidence"]
    bound = since["confirmed"]["not_worse_by"]
    with capsys.disabled():
        sys.stdout.write(
            f"\nversion {rollout['candidate_version']}: not worse by {bound:.0%}, users {since['users']}\n"
        )
    assert bound <= 0.05
