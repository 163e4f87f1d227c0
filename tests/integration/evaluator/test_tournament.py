"""A request of several recipes has one evaluation, once the last of its runs has ended."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, update

from shared.events import TrainingCompleted
from shared.tables.evaluator import Evaluation
from shared.tables.trainer import Run
from tests.integration.evaluator.scene import (
    BEGINNING,
    DATASET,
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
    assert list_evaluations(room) == [(FIRST, "2")], "until candidates are ranked: the first recipe's"


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
