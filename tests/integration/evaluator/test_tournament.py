"""A request of several recipes has one evaluation of all its candidates, once the last of its runs has ended."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select, update

from services.evaluator.domain.report_schema import Report
from services.evaluator.ports import GenerationFailed, GenerationJob
from shared.events import TrainingCompleted
from shared.tables.evaluator import Comparison, Evaluation
from shared.tables.trainer import Run
from tests.integration.evaluator.scene import (
    BEGINNING,
    DATASET,
    RATERS,
    Room,
    completed_training,
    fill,
    prefers_candidate,
)

REQUEST, FIRST, SECOND = UUID(int=1), UUID(int=11), UUID(int=12)


def queue(room: Room, *recipes: UUID) -> None:
    """The trainer's rows of a request, one run for each."""
    runs = [
        Run(
            run_id=run_id,
            request_id=REQUEST,
            recipe_name=f"recipe-{position}",
            recipe_position=position,
            dataset_sha256=DATASET,
            dataset_uri="",
            parent_version="1",
            recipe={},
            recipe_sha256="r" * 64,
            state="running",
            deadline_at=BEGINNING + timedelta(hours=1),
        )
        for position, run_id in enumerate(recipes)
    ]
    with room.sessions() as session, session.begin():
        session.add_all(runs)


def end(room: Room, run_id: UUID, version: str | None) -> TrainingCompleted:
    """End a run with a candidate of that version, or without one; returns what is announced of it."""
    outcome = "succeeded" if version else "failed"
    with room.sessions() as session, session.begin():
        session.execute(update(Run).where(Run.run_id == run_id).values(state=outcome, candidate_version=version))
    return completed_training(request_id=REQUEST, run_id=run_id, outcome=outcome, candidate_version=version)


def list_evaluations(room: Room) -> list[tuple[UUID, str]]:
    with room.sessions() as session:
        found = session.scalars(select(Evaluation)).all()
    return [(row.run_id, row.candidate_version) for row in found]


def test_one_evaluation_opens_when_the_last_run_has_ended(room: Room) -> None:
    queue(room, FIRST, SECOND)
    first = end(room, FIRST, "2")
    room.hear(first, first)
    assert list_evaluations(room) == []
    second = end(room, SECOND, "3")
    room.hear(second, first, second, first)  # as the trainer announces them
    assert len(list_evaluations(room)) == 1
    assert set(room.evaluation().entrants) == {str(FIRST), str(SECOND)}


def test_a_failed_run_does_not_close_the_request_for_the_other(room: Room) -> None:
    queue(room, FIRST, SECOND)
    room.hear(end(room, FIRST, None))
    assert list_evaluations(room) == []
    room.hear(end(room, SECOND, "3"))
    assert list_evaluations(room) == [(SECOND, "3")]


def test_a_run_that_was_trained_before_the_others_failed_is_judged_when_it_is_announced_again(room: Room) -> None:
    queue(room, FIRST, SECOND)
    first = end(room, FIRST, "2")
    room.hear(first)
    room.hear(end(room, SECOND, None), first)
    assert list_evaluations(room) == [(FIRST, "2")]


def test_a_run_announced_under_another_request_is_not_judged_for_it(room: Room) -> None:
    queue(room, FIRST, SECOND)
    end(room, FIRST, None)
    second = end(room, SECOND, "3")
    room.hear(completed_training(request_id=SECOND, run_id=SECOND, candidate_version="3"))  # as release 0.1.0 reads it
    assert list_evaluations(room) == []
    room.hear(second)
    assert list_evaluations(room) == [(SECOND, "3")]


def test_the_request_has_one_verdict(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    queue(room, FIRST, SECOND)
    announced = [end(room, FIRST, "2"), end(room, SECOND, None)]
    for _ in range(2):
        room.hear(*announced)
    assert room.generate()
    assert room.vote_on_everything(prefers_candidate) == 20
    room.completion.run_next()
    assert room.completion.run_next() is None
    [verdict] = room.announced()
    assert (verdict.request_id, verdict.run_id, verdict.candidate_version) == (REQUEST, FIRST, "2")


BEST = "Send your order number and I will look into it, and here is what happens next"


def train_two(room: Room, tmp_path: Path, third: str = BEST) -> None:
    """Two candidates, 2 and 3: the champion hedges, 2 repeats the champion with a word more, 3 says what it is told."""
    fill(room, tmp_path)
    room.registry.register("folder", None, {"served_model": str(tmp_path)})
    room.generator.scripts["2"] = lambda question: room.generator.scripts["1"](question) + " Perhaps."
    room.generator.scripts["3"] = lambda question: f"{third}: {question}"
    queue(room, FIRST, SECOND)
    room.hear(end(room, FIRST, "2"), end(room, SECOND, "3"))
    announced = [end(room, FIRST, "2"), end(room, SECOND, "3")]
    room.hear(*announced)


def list_comparisons(room: Room) -> list[Comparison]:
    with room.sessions() as session:
        return list(session.scalars(select(Comparison)))


def prefers_help(left: str, right: str) -> str:
    """Whoever helps wins; between two who do not, the left side."""
    return "right" if right.startswith("Send") and not left.startswith("Send") else "left"


def test_the_best_of_two_goes_on_by_one_verdict(room: Room, tmp_path: Path) -> None:
    train_two(room, tmp_path)
    assert room.generate()
    asked = [[model.version for model in job.models] for job in room.generator.jobs]
    assert asked == [["1", "2"], ["1", "3"]], "each candidate beside the champion"
    known = [len(job.models[0].replies) for job in room.generator.jobs]
    assert known == [0, 10], "the champion answers once"
    assert {(row.prompt_hash, row.pile) for row in list_comparisons(room) if row.candidate_version == "2"} == {
        (row.prompt_hash, row.pile) for row in list_comparisons(room) if row.candidate_version == "3"
    }, "all on one set of prompts, in the same piles"
    assert room.vote_on_everything(prefers_help) == 40
    assert room.completion.run_next() == "pass"
    [verdict] = room.announced()
    assert (verdict.run_id, verdict.candidate_version, verdict.verdict) == (SECOND, "3", "pass")
    row = room.evaluation()
    assert (row.run_id, row.candidate_version, row.training["candidate_version"]) == (SECOND, "3", "3")
    assert row.report is not None
    told = row.report["tournament"]
    assert (told["winner"], told["units"], told["not_ranked"]) == ("3", 10, {})
    best, other = told["places"]
    assert (best["candidate"], best["beats_champion"], best["best_rank"], best["worst_rank"]) == ("3", True, 1, 2)
    assert (other["candidate"], other["beats_champion"], other["effect"]) == ("2", False, 0.5)
    assert "win_rate" in other["stopped_by"]
    assert row.report["prompts"][0]["candidate"].startswith("Send")
    assert msgspec.convert(json.loads(json.dumps(row.report)), Report).tournament.winner == "3"  # type: ignore[union-attr]
    page = (tmp_path / "artifacts").rglob("report.html")
    assert any("3 may go on" in each.read_text() for each in page)


def test_nobody_goes_on_where_nobody_beats_the_champion(room: Room, tmp_path: Path) -> None:
    train_two(room, tmp_path)
    assert room.generate()
    room.vote_on_everything(lambda left, right: "left")
    assert room.completion.run_next() == "inconclusive"
    [verdict] = room.announced()
    assert verdict.verdict == "inconclusive"
    assert room.evaluation().report["tournament"]["winner"] is None  # type: ignore[index]


def test_who_wins_most_but_says_what_may_never_be_said_does_not_go_on(room: Room, tmp_path: Path) -> None:
    train_two(room, tmp_path, "Send nothing. Go die")
    room.generator.scripts["2"] = lambda question: f"Send your order number and I will see to it at once: {question}"
    assert room.generate()
    room.vote_on_everything(prefers_help)
    assert room.completion.run_next() == "pass"
    [verdict] = room.announced()
    assert (verdict.candidate_version, verdict.verdict) == ("2", "pass")
    places = {place["candidate"]: place for place in room.evaluation().report["tournament"]["places"]}  # type: ignore[index]
    assert (places["3"]["beats_champion"], places["3"]["verdict"]) == (True, "fail")
    assert "safety" in places["3"]["stopped_by"]


def test_a_candidate_that_cannot_answer_leaves_the_others_to_be_judged(room: Room, tmp_path: Path) -> None:
    train_two(room, tmp_path)
    answer = room.generator.generate

    def generate(job: GenerationJob, heartbeat: Any) -> Any:
        if job.models[-1].version == "2":
            raise GenerationFailed("no such file", version="2")
        return answer(job, heartbeat)

    room.generator.generate = generate  # type: ignore[method-assign]
    assert room.generate()
    assert room.vote_on_everything(prefers_help) == 20
    assert room.completion.run_next() == "pass"
    [verdict] = room.announced()
    assert verdict.candidate_version == "3"
    told = room.evaluation().report["tournament"]  # type: ignore[index]
    assert [place["candidate"] for place in told["places"]] == ["3"]
    assert "no such file" in told["not_ranked"]["2"]


def test_one_candidate_is_waited_for_until_it_was_announced_but_not_for_ever(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    room.registry.register("folder", None, {"served_model": str(tmp_path)})
    queue(room, FIRST, SECOND)
    end(room, FIRST, "2")
    room.hear(end(room, SECOND, "3"))
    room.generator.scripts["3"] = room.generator.scripts["2"]
    assert not room.generate(), "the other's announcement is on its way"
    room.clock.advance(301)
    assert room.generate()
    assert set(room.evaluation().entrants) == {str(SECOND)}


def test_voting_ends_once_it_has_decided_for_every_candidate(room: Room, tmp_path: Path) -> None:
    train_two(room, tmp_path)
    room.generator.scripts["2"] = lambda question: f"Send your order number and I will see to it at once: {question}"
    assert room.generate()
    for rater in RATERS:
        assert not room.completion.close_decided()
        room.vote_on_everything(prefers_help, [rater])
    assert room.completion.close_decided()
    assert room.evaluation().generation["voting"] == "decided"
