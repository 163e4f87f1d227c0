"""The state machine, the stage rule, routing and the audit chain."""

import dataclasses
from typing import Any

import pytest
from pydantic import ValidationError

from services.deployer.domain.approval import calculate_approval_hash
from services.deployer.domain.breaker import Breaker, Failures
from services.deployer.domain.guardrails import Reading
from services.deployer.domain.rollout import InvalidCommand, RolloutStatus, next_status
from services.deployer.domain.routing import (
    choose_server,
    first_table,
    list_voting_arms,
    next_stage_table,
    promoted_table,
    restored_table,
    withdrawn_table,
)
from services.deployer.domain.stages import StageFacts, assess_stage
from services.deployer.settings import DeployerSettings
from shared.events import Route
from shared.ids import new_id
from tests.unit.deployer.limits import make_limits

STAGES = 3
OLD = Route(version="1", model="/models/1", base_url="http://127.0.0.1:8006/v1")
NEW = Route(version="2", model="/models/2", base_url="http://127.0.0.1:8010/v1")
LIMITS = make_limits()
QUIET = Reading("outcome", "roll_back", 2.0, 40.0, 0.8, 0.8)
HARM = dataclasses.replace(QUIET, e_value=41.0, canary=0.5)
ODD = Reading("response_rate", "hold", 50.0, 40.0, 0.3, 0.1)
FACTS = StageFacts(
    readings=[QUIET],
    advance=25.0,
    advance_alpha=0.05,
    seconds=120,
    said={"champion": 60, "canary": 20},
    missing_users=9,
)


def walk(*commands: str) -> RolloutStatus:
    status = RolloutStatus("awaiting_approval")
    for command in commands:
        status = next_status(status, command, stages=STAGES)  # type: ignore[arg-type]
    return status


def test_an_approved_rollout_goes_through_every_stage_to_champion():
    assert walk("approve") == RolloutStatus("canary", None)
    assert walk("approve", "start") == RolloutStatus("canary", 0)
    assert walk("approve", "start", "advance", "advance") == RolloutStatus("canary", 2)
    assert walk("approve", "start", "advance", "advance", "advance") == RolloutStatus("champion")


@pytest.mark.parametrize(
    ("commands", "state"),
    [
        (["reject"], "rejected"),
        (["approve", "abort"], "aborted"),
        (["approve", "start", "roll_back"], "rolled_back"),
        (["approve", "start", "pause", "roll_back"], "rolled_back"),
        (["approve", "start", "promote"], "champion"),
        (["pause", "resume", "approve", "start", "advance", "advance", "advance", "roll_back"], "rolled_back"),
    ],
)
def test_there_is_a_way_out_at_every_step(commands, state):
    assert walk(*commands).state == state


def test_a_pause_keeps_the_stage():
    assert walk("approve", "start", "advance", "pause") == RolloutStatus("paused", 1, "canary")
    assert walk("approve", "start", "advance", "pause", "resume") == RolloutStatus("canary", 1)


@pytest.mark.parametrize(
    "commands",
    [["advance"], ["start"], ["promote"], ["resume"], ["approve", "approve"], ["approve", "promote"],
     ["reject", "approve"], ["approve", "abort", "resume"], ["approve", "start", "start"], ["pause", "pause"]],
)  # fmt: skip
def test_what_leads_nowhere_is_refused_with_the_state_named(commands):
    with pytest.raises(InvalidCommand, match="cannot"):
        walk(*commands)


def test_a_stage_with_evidence_time_and_votes_advances():
    assert assess_stage(FACTS, LIMITS).action == "advance"


@pytest.mark.parametrize(
    ("change", "summary"),
    [
        ({"seconds": 20}, "40 s until the stage may end"),
        ({"said": {"champion": 60, "canary": 4}}, "6 more canary votes"),
        ({"said": {"champion": 7, "canary": 4}}, "3 more champion and 6 more canary votes"),
        ({"advance": 3.0}, "about 9 more users"),
        ({"advance": 3.0, "missing_users": None}, "looks worse"),
        ({"readings": [QUIET, ODD]}, "held: response rate: canary 10.0%, champion 30.0%"),
    ],
)
def test_a_stage_that_lacks_one_of_them_holds_and_says_what_is_missing(change: dict[str, Any], summary: str):
    decision = assess_stage(dataclasses.replace(FACTS, **change), LIMITS)
    assert decision.action == "hold"
    assert summary in decision.summary
    late = assess_stage(dataclasses.replace(FACTS, **change | {"seconds": 90_000}), LIMITS)
    assert late.action == ("advance" if "seconds" in change else "abort")
    assert "seconds" in change or "undecided after 1 days" in late.summary


def test_a_stage_where_only_the_canary_has_traffic_asks_for_no_champion_votes():
    assert list_voting_arms(100, holdback_percent=0) == ["canary"]
    assert list_voting_arms(100, holdback_percent=5) == ["champion", "canary"]
    assert list_voting_arms(50, holdback_percent=0) == ["champion", "canary"]
    assert assess_stage(dataclasses.replace(FACTS, said={"canary": 20}), LIMITS).action == "advance"


def test_a_stage_that_risks_nothing_new_asks_for_no_evidence():
    assert assess_stage(dataclasses.replace(FACTS, advance=0.1, advance_alpha=1.0), LIMITS).action == "advance"


def test_evidence_of_harm_rolls_back_even_before_the_minimum_time():
    decision = assess_stage(dataclasses.replace(FACTS, seconds=1, readings=[HARM, ODD]), LIMITS)
    assert decision.action == "roll_back"
    assert decision.summary == "the canary is worse: outcome: canary 50.0%, champion 80.0%; e-value 41 of 40"


def test_a_breaker_that_trips_rolls_back_before_anything_else_is_asked():
    breaker = Breaker(served=100, errors=40, canary=Failures(40, 40), champion=Failures(400, 20), level=1e-4)
    decision = assess_stage(dataclasses.replace(FACTS, breaker=breaker), LIMITS)
    assert (decision.action, decision.summary) == (
        "roll_back",
        "40 of the last 100 canary answers failed, for 40 of 40 users; of the champion's 20 of 400",
    )
    between = dataclasses.replace(FACTS, breaker=dataclasses.replace(breaker, level=0.0))
    assert assess_stage(between, LIMITS).action == "advance"


def test_the_canary_goes_to_the_server_that_does_not_serve_the_champion():
    table = first_table("heliotrope", OLD, "s")
    assert choose_server(table, [OLD.base_url, NEW.base_url]) == NEW.base_url
    assert choose_server(table, [OLD.base_url]) == OLD.base_url


def test_routing_goes_up_by_one_generation_each_time_and_keeps_the_holdback():
    rollout_id = new_id()
    table = next_stage_table(first_table("heliotrope", OLD, "s"), NEW, rollout_id, percent=25, holdback_percent=10)
    assert (table.generation, table.canary, table.canary_percent, table.holdback) == (2, NEW, 25, None)
    promoted = promoted_table(table)
    assert (promoted.generation, promoted.champion, promoted.canary, promoted.holdback) == (3, NEW, None, OLD)
    assert (promoted.holdback_percent, promoted.salt, promoted.rollout_id) == (10, str(rollout_id), rollout_id)
    restored = restored_table(promoted, OLD)
    assert (restored.generation, restored.champion, restored.holdback, restored.holdback_percent) == (4, OLD, None, 0)


def test_a_withdrawn_canary_leaves_no_trace_in_the_table():
    table = next_stage_table(first_table("heliotrope", OLD, "s"), NEW, new_id(), percent=25, holdback_percent=10)
    withdrawn = withdrawn_table(table)
    assert (withdrawn.champion, withdrawn.canary, withdrawn.canary_percent, withdrawn.rollout_id) == (
        OLD,
        None,
        0,
        None,
    )


@pytest.mark.parametrize("part", ["weights", "dataset", "recipe", "report", "content", "model"])
def test_a_change_of_any_part_voids_an_approval(part):
    hashes = {"weights": "w", "dataset": "d", "recipe": "r", "report": "p", "content": "c", "model": "m"}
    assert calculate_approval_hash(**hashes) != calculate_approval_hash(**hashes | {part: "other"})


@pytest.mark.parametrize("stages", ["[]", "[5, 1, 100]", "[1, 50]", "[0, 100]", "[50, 50, 100]"])
def test_stages_that_do_not_grow_to_a_hundred_are_refused(stages, monkeypatch):
    monkeypatch.setenv("HELIOTROPE_DEPLOYER_STAGES", stages)
    with pytest.raises(ValidationError, match="must grow"):
        DeployerSettings()
