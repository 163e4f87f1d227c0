"""How an evaluation opens, ends in a verdict, and is announced."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from services.evaluator.consumer import TrainingConsumer
from services.evaluator.domain.policy import Policy, calculate_policy_sha256
from services.evaluator.domain.report import calculate_report_hash
from services.evaluator.handlers.completion import CompletionHandler
from shared.bus import Record
from shared.bus.memory import MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters
from shared.events import TrainingCompleted
from shared.ids import new_id
from shared.registry.memory import MemoryRegistry
from shared.tables import curator, deployer
from shared.tables.evaluator import Comparison, Evaluation
from tests.builders import make_artifacts
from tests.integration.evaluator.scene import (
    ITEMS,
    POLICY,
    RATERS,
    Room,
    completed_training,
    fill,
    open_voting,
    prefers_candidate,
    with_plan,
)


def test_a_preferred_candidate_passes_and_is_announced_with_the_hash_of_its_report(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    assert room.completion.run_next() is None
    assert room.vote_on_everything(prefers_candidate) == 20
    assert room.completion.run_next() == "pass"
    assert room.completion.run_next() is None

    row = room.evaluation()
    [event] = room.announced()
    assert event.verdict == "pass"
    assert event.report_sha256 == row.report_sha256
    assert event.candidate_version == "2"
    passed = {gate.name for gate in event.gates if gate.verdict == "pass"}
    assert passed >= {"win_rate", "contamination", "length", "empty_answers", "repetition", "refusals", "safety"}
    assert {gate.name for gate in event.gates if not gate.blocks} == {"diversity", "length_controlled_win_rate"}
    win_rate = event.gates[0]
    assert (win_rate.effect, win_rate.n) == (1.0, 10)
    assert event.report_uri is not None
    stored = Path(event.report_uri, "report.json").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == row.report_sha256
    assert row.report is not None
    assert calculate_report_hash(row.report) == row.report_sha256
    assert "Send your order number" in Path(event.report_uri, "report.html").read_text()


def test_voting_ends_once_it_has_decided_and_leaves_the_rest_unasked(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    assert room.vote_on_everything(prefers_candidate, RATERS[:7]) == 14
    assert room.completion.close_decided() == 0
    assert room.completion.run_next() is None
    room.vote_on_everything(prefers_candidate, RATERS[7:8])
    assert room.completion.close_decided() == 1
    assert room.completion.close_decided() == 0
    assert room.completion.run_next() == "pass"
    assert room.evaluation().generation["voting"] == "decided"
    assert room.get("/v1/comparisons/next", role=RATERS[9]).status_code == 204
    assert room.announced()[0].gates[0].n == 8


def test_voting_that_cannot_pass_any_more_ends_as_futile(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(lambda left, right: "left", RATERS[:9])
    assert room.completion.close_decided() == 1
    assert room.completion.run_next() == "inconclusive"
    assert room.evaluation().generation["voting"] == "futile"


@pytest.mark.parametrize(
    ("raters", "decides", "verdict", "told"),
    [
        (2, True, "inconclusive", "a round needs a vote of each of the panel's 3"),
        (3, False, "inconclusive", "the opinion of these 3 raters, which says nothing of users"),
        (3, True, "pass", "the policy has this panel decide"),
    ],
)
def test_a_panel_speaks_for_itself_alone(
    room: Room, tmp_path: Path, raters: int, decides: bool, verdict: str, told: str
) -> None:
    plan = with_plan(estimand="panel", raters=3, panel_decides=decides)
    room.generation = replace(room.generation, policy=plan)
    open_voting(room, tmp_path, (*ITEMS, *(f"{item} stand" for item in ITEMS)))
    room.vote_on_everything(prefers_candidate, RATERS[:raters])
    assert room.get("/v1/comparisons/next", role=RATERS[5]).status_code == (204 if raters == 3 else 200)
    room.clock.advance(100_000)
    assert room.completion.run_next() == verdict
    assert told in room.announced()[0].gates[0].summary


def test_the_report_names_the_policy_that_it_was_opened_with(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.generation = replace(room.generation, policy=Policy())
    room.vote_on_everything(prefers_candidate)
    room.completion.run_next()
    report = room.evaluation().report
    assert report is not None
    assert report["policy_sha256"] == calculate_policy_sha256(POLICY) != calculate_policy_sha256(Policy())
    assert report["generation"]["policy"]["win_rate"]["raters"] == 10


def test_prompts_of_a_region_are_known_as_such(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    with room.sessions() as session, session.begin():
        for number, prompt in enumerate(session.scalars(select(curator.Prompt).order_by(curator.Prompt.cell)).all()):
            prompt.cell = f"cell-{sorted(ITEMS)[number // 2 * 2]}"
    room.hear(completed_training())
    assert room.generate()
    room.vote_on_everything(prefers_candidate)
    room.completion.run_next()
    report = room.evaluation().report
    assert report is not None
    assert len(set(report["generation"]["regions"].values())) == 5
    told = {gate["name"]: gate["summary"] for gate in report["gates"]}
    assert all("for these 5 regions of prompts only" in told[name] for name in ("refusals", "empty_answers", "length"))


def test_each_vote_keeps_the_probability_with_which_it_was_asked_for(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(prefers_candidate)
    with room.sessions() as session:
        rows = session.scalars(select(Comparison).order_by(Comparison.voted_at)).all()
    assert all(row.selection_probability == 1 / (row.selection_pool or 0) for row in rows)
    assert max(row.selection_pool or 0 for row in rows) == 20


def test_a_disliked_candidate_fails(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(lambda left, right: "right" if left.startswith("Send") else "left")
    assert room.completion.run_next() == "fail"


def test_votes_that_only_follow_the_seat_are_inconclusive(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(lambda left, right: "left")
    assert room.completion.run_next() == "inconclusive"
    assert room.announced()[0].gates[0].effect == 0.5


def test_the_same_completed_run_opens_one_evaluation_however_often_it_is_heard(room: Room) -> None:
    room.hear(completed_training(), completed_training())
    room.hear(completed_training())
    assert room.evaluation().champion_version == "1"


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_a_run_that_left_no_candidate_is_not_evaluated(room: Room, outcome: str) -> None:
    room.hear(completed_training(outcome=outcome, candidate_version=None))
    with room.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Evaluation)) == 0


def test_the_candidate_meets_the_champion_of_now_not_the_parent_it_was_trained_from(room: Room) -> None:
    with room.sessions() as session, session.begin():
        for generation, version in ((1, "1"), (10, "7"), (9, "5")):
            table = {"champion": {"version": version}}
            session.add(deployer.RoutingGeneration(family="heliotrope", generation=generation, table=table))
    room.hear(completed_training())
    assert room.evaluation().champion_version == "7"


def test_too_few_votes_at_the_deadline_are_inconclusive(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    assert room.vote_on_everything(prefers_candidate, RATERS[:2]) == 4
    room.clock.advance(599)
    assert room.completion.run_next() is None
    room.clock.advance(1)
    assert room.completion.run_next() == "inconclusive"
    assert room.announced()[0].gates[0].summary.startswith("4 of 20 votes were cast, by 2 raters; at least 3")


def test_a_result_without_a_rollout_is_announced_again_and_not_for_ever(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(prefers_candidate)
    room.completion.run_next()
    assert room.completion.announce_again() == 0
    for _ in range(room.settings.announcements + 5):
        room.clock.advance(31)
        room.completion.announce_again()
    events = room.announced()
    assert len(events) == room.settings.announcements
    assert all(event == events[0] for event in events)


def test_once_there_is_a_rollout_nothing_is_announced_again(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(prefers_candidate)
    room.completion.run_next()
    with room.sessions() as session, session.begin():
        session.add(
            deployer.Rollout(
                rollout_id=new_id(),
                request_id=UUID(int=1),
                evaluation={},
                candidate_version="2",
                champion_version="1",
                state="rejected",
                approval_hash="h",
                summary="",
            )
        )
    room.clock.advance(31)
    assert room.completion.announce_again() == 0


class AwayRegistry(MemoryRegistry):
    def start_run(self, name: str, tags: Any) -> str:
        raise ConnectionError("the registry is away")


def test_a_registry_that_is_away_delays_the_report_and_does_not_stop_the_loop(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    room.vote_on_everything(prefers_candidate)
    completion = CompletionHandler(
        room.sessions, AwayRegistry(tmp_path), make_artifacts(tmp_path), room.settings, "", room.clock
    )
    with pytest.raises(ConnectionError):
        completion.run_next()
    assert room.evaluation().claimed_by is None
    room.clock.advance(600 + 601)
    assert completion.run_next() == "pass"
    [event] = room.announced()
    assert event.report_uri is None
    assert event.report_sha256


def test_what_cannot_be_decoded_goes_aside(room: Room) -> None:
    handler = TrainingConsumer("heliotrope", room.settings, room.clock)
    consumer = MemoryConsumer(room.broker, [], None)
    loop = ConsumerLoop(
        "evaluator", consumer, handler, room.sessions, DeadLetters(MemoryProducer(room.broker), "evaluator")
    )
    loop.handle_batch([Record(TrainingCompleted.topic, b"k", b"{not json")])
    [letter] = room.broker.records("training.completed.evaluator.dlq")
    assert letter.value == b"{not json"
