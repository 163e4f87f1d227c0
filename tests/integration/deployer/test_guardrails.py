"""What a canary is held to while it runs: each guardrail, deadlines, frozen limits, and the holdback after it."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from shared.tables.deployer import Exposure, Rollout
from tests.integration.deployer.scene import Setup

FAILED: dict[str, Any] = {"error": "upstream_timeout"}


def serve(
    setup: Setup, rollout: dict[str, Any], users: int, *, canary: Any, champion: Any, tag: str = "u", beside: int = 1
) -> None:
    """Serve canary users, each with so many of the champion's beside, until all have their answers.

    What either does is given by their number.
    """
    events: list[Any] = []
    for number in range(users):
        setup.clock.pass_seconds(1)
        events += setup.make_vote(rollout, canary=True, user=f"{tag}-{number:03}-canary", **canary(number))
        for place in range(beside):
            user = f"{tag}-{number:03}-champion-{place}"
            events += setup.make_vote(rollout, canary=False, user=user, **champion(beside * number + place))
    setup.hear(*events)
    setup.clock.pass_seconds(5)  # until the slowest answer was whole


def usual(number: int) -> dict[str, Any]:
    return {"up": number % 5 > 0, "total_seconds": 1 + number % 10 / 10}


def look(setup: Setup, rollout: dict[str, Any]) -> dict[str, Any]:
    setup.reconciler.reconcile()
    return setup.load(rollout)


def read(rollout: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(each) for each in rollout["evidence"]["guardrails"] if each["name"] == name)


def test_errors_of_a_tenth_of_the_users_against_none_roll_back(setup: Setup):
    rollout = setup.start_canary()
    serve(
        setup, rollout, 160, champion=usual, canary=lambda number: usual(number) | (FAILED if number % 10 == 9 else {})
    )
    found = look(setup, rollout)
    assert found["state"] == "rolled_back"
    assert "errors" in found["summary"]


def test_an_outage_of_both_arms_rolls_nothing_back(setup: Setup):
    rollout = setup.start_canary()
    serve(setup, rollout, 40, champion=lambda number: usual(number) | FAILED, canary=lambda n: usual(n) | FAILED)
    found = look(setup, rollout)
    assert found["state"] == "canary"
    assert found["evidence"]["breaker"]["canary"] == {"users": 40, "failed": 40}


def test_a_candidate_that_is_only_slower_is_rolled_back(setup: Setup):
    rollout = setup.start_canary()
    serve(setup, rollout, 110, champion=usual, canary=lambda number: usual(number) | {"total_seconds": 5.0})
    found = look(setup, rollout)
    assert found["state"] == "rolled_back"
    assert "latency" in found["summary"]


def test_empty_answers_count_as_failures(setup: Setup):
    rollout = setup.start_canary()
    serve(setup, rollout, 20, champion=usual, canary=lambda number: usual(number) | {"answer": ""})
    assert look(setup, rollout)["state"] == "rolled_back"


def test_a_button_that_does_not_work_holds_the_canary_and_its_deadline_ends_it(setup: Setup):
    rollout = setup.start_canary()
    events: list[Any] = []
    for number in range(120):
        events += setup.make_vote(rollout, canary=False, user=f"{number:03}-champion", up=number % 5 > 0)
        events.append(setup.make_vote(rollout, canary=True, user=f"{number:03}-canary", up=True)[0])
    setup.hear(*events)
    setup.clock.pass_seconds(11)
    held = look(setup, rollout)
    assert (held["state"], held["stage"]) == ("canary", 0)
    assert read(held, "response_rate")["is_breached"]
    assert held["evidence"]["summary"].startswith("held: response rate: canary 0.0%, champion 100.0%")
    setup.clock.pass_seconds(14 * 86_400)
    ended = look(setup, rollout)
    assert ended["state"] == "aborted"
    assert ended["summary"].startswith("undecided after 14 days in one stage: held: response rate")
    assert setup.call("GET", "/v1/routing", role="ops").json().get("canary") is None


def test_traffic_that_dries_up_is_held_and_then_ended_with_the_reason(setup: Setup):
    rollout = setup.start_canary()
    serve(setup, rollout, 3, champion=usual, canary=usual)
    setup.clock.pass_seconds(3_600)
    held = look(setup, rollout)
    assert held["state"] == "canary"
    assert held["evidence"]["deadline_at"] > setup.clock().isoformat()
    setup.clock.pass_seconds(14 * 86_400)
    assert "undecided" in look(setup, rollout)["summary"]


def test_a_paused_canary_is_not_ended_by_its_deadline(setup: Setup):
    rollout = setup.start_canary()
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/pause", body={"reason": "holiday"})
    setup.clock.pass_seconds(20 * 86_400)
    assert look(setup, rollout)["state"] == "paused"


def test_limits_are_those_of_the_opening_whatever_the_settings_say_later(setup: Setup):
    rollout = setup.start_canary()
    assert rollout["limits"]["stages"] == [25, 50, 100]
    settings = setup.rollouts.settings.model_copy(
        update={"stages": [100], "alpha": 0.9, "minimum_stage_seconds": 1e6, "stage_deadline_seconds": 1.0}
    )
    rollouts = replace(setup.rollouts, settings=settings)
    setup.reconciler = replace(setup.reconciler, rollouts=rollouts)
    serve(setup, rollout, 20, champion=lambda number: {"up": number % 2 > 0}, canary=lambda n: {"up": True}, beside=3)
    setup.clock.pass_seconds(11)
    found = look(setup, rollout)
    assert (found["state"], found["stage"]) == ("canary", 1)
    assert setup.call("GET", "/v1/routing", role="ops").json()["canary_percent"] == 50


def test_evidence_of_one_stage_is_none_of_the_next(setup: Setup):
    rollout = setup.start_canary()
    serve(setup, rollout, 20, champion=lambda number: {"up": number % 2 > 0}, canary=lambda n: {"up": True}, beside=3)
    setup.clock.pass_seconds(11)
    assert look(setup, rollout)["stage"] == 1
    found = look(setup, rollout)
    assert (found["evidence"]["e_advance"], found["evidence"]["users"]) == (1.0, {"champion": 0, "canary": 0})
    assert found["stages"][0]["evidence"]["e_advance"] >= found["stages"][0]["evidence"]["advances_at"]


def test_outcomes_are_derived_once_and_weighed_the_same_after_a_restart(setup: Setup):
    rollout = setup.start_canary()
    serve(setup, rollout, 15, champion=usual, canary=usual)
    before = look(setup, rollout)["evidence"]
    setup.reconciler = replace(setup.reconciler)
    assert look(setup, rollout)["evidence"]["guardrails"] == before["guardrails"]
    with setup.sessions() as session:
        counted = session.execute(select(func.count(), func.max(Exposure.sequence))).one()
    assert tuple(counted) == (30, 30)


def test_a_user_who_is_not_finished_has_no_outcome_yet(setup: Setup):
    rollout = setup.start_canary()
    with setup.sessions() as session, session.begin():
        session.execute(update(Rollout).values(limits=rollout["limits"] | {"exposure_seconds": 60.0}))
    serve(setup, rollout, 1, champion=usual, canary=usual)
    for seconds, said in ((54, {"canary": 0, "champion": 0}), (2, {"canary": 1, "champion": 1})):
        setup.clock.pass_seconds(seconds)
        assert look(setup, rollout)["evidence"]["stage_votes"] == said


@pytest.mark.parametrize("is_worse", [True, False])
def test_the_holdback_brings_the_old_champion_back_if_the_new_one_is_worse(setup: Setup, is_worse: bool):
    del setup.serving.urls[0]  # every version is served by the one model server that there is
    rollout = setup.start_canary()
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    setup.clock.pass_seconds(1)
    new = (lambda number: {"up": number % 5 == 0}) if is_worse else usual
    serve(setup, rollout, 60, champion=usual, canary=new, tag="later")
    found = look(setup, rollout)
    table = setup.call("GET", "/v1/routing").json()
    assert found["state"] == ("rolled_back" if is_worse else "champion")
    assert table["champion"]["version"] == ("1" if is_worse else "2")
    if is_worse:
        assert "the canary is worse: outcome" in found["summary"]
        assert setup.announced()[-1].state == "rolled_back"
        assert look(setup, rollout)["state"] == "rolled_back"


def test_a_holdback_has_the_share_that_it_was_given_also_if_an_admin_skipped_stages(setup: Setup):
    rollout = setup.start_canary()
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    setup.clock.pass_seconds(1)
    serve(setup, rollout, 1, champion=usual, canary=usual)
    assert read(look(setup, rollout), "sample_ratio")["champion"] == 0.9


def test_an_approval_says_how_long_each_stage_will_take_or_that_it_never_decides(setup: Setup):
    forecast = setup.approve(setup.open_rollout()).json()["evidence"]["at_approval"]
    assert [stage["percent"] for stage in forecast["stages"]] == [25, 50, 100]
    assert forecast["warning"] == "will not decide within its deadline: 25%, 50%"
    assert forecast["users_per_day"] == 0


def test_a_stage_that_runs_has_a_forecast_of_its_rest(setup: Setup):
    rollout = setup.start_canary()
    serve(setup, rollout, 6, champion=usual, canary=lambda number: {"up": True})
    setup.clock.pass_seconds(5)
    forecast = look(setup, rollout)["evidence"]["forecast"]
    assert forecast["quantiles"] == [0.2, 0.5, 0.8]
    assert forecast["seconds"][0] <= forecast["seconds"][1]
