"""A request of several recipes: a run for each, ends that wait for each other, and release 0.1.0 beside it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, update

from cli.loop import read_loop
from services.trainer.handlers.completion import Outcome, finish_run
from services.trainer.handlers.requests import cancel_run
from services.trainer.repository import list_unanswered_runs, load_run_for_update
from shared.ids import new_id
from shared.tables.curator import RetrainRequestRow
from shared.tables.trainer import Run
from tests.integration.trainer.scene import Sessions, claim, list_announced, make_request, make_sweeper, refuse, request

BOTH = ["support_bot", "careful_bot"]
RELEASED_INSERT = """
INSERT INTO trainer.runs (run_id, request_id, requested_by, dataset_sha256, dataset_uri, parent_version, deadline_at,
    state, recipe, recipe_sha256)
VALUES (:run_id, :request_id, 'monitor', :dataset, '/datasets/d', '1', now() + interval '1 hour', 'queued',
    '{"name": "support_bot"}', 'r')
ON CONFLICT (request_id) DO NOTHING RETURNING run_id
"""
"""As release 0.1.0 stores a run."""


def hold_tournament(sessions: Sessions, **changes: Any) -> list[Run]:
    event = make_request(recipe=BOTH[0], recipes=BOTH, **changes)
    for _ in range(2):
        request(sessions, event)
    return list_runs(sessions, event.request_id)


def list_runs(sessions: Sessions, request_id: UUID) -> list[Run]:
    with sessions() as session:
        runs = select(Run).where(Run.request_id == request_id).order_by(Run.recipe_position)
        return list(session.scalars(runs))


def end(sessions: Sessions, run: Run, outcome: Outcome) -> None:
    with sessions() as session, session.begin():
        finish_run(session, load_run_for_update(session, run.run_id), outcome, None, topic_prefix="")


def open_request(sessions: Sessions, request_id: UUID) -> None:
    now = datetime.now(UTC)
    row = RetrainRequestRow(
        request_id=request_id,
        dataset_sha256="d" * 64,
        parent_version="1",
        reasons=[],
        state="open",
        requested_at=now,
        deadline_at=now + timedelta(hours=1),
        announced_at=now,
    )
    with sessions() as session, session.begin():
        session.add(row)


def list_unanswered(sessions: Sessions) -> set[str]:
    """Names of the recipes whose results would be announced again."""
    with sessions() as session, session.begin():
        now = session.scalar(select(func.clock_timestamp()))
        assert now is not None
        return {run.recipe_name for run in list_unanswered_runs(session, now, now)}


def test_a_request_has_a_run_for_each_recipe_however_often_it_comes(sessions: Sessions):
    first, second = hold_tournament(sessions)
    assert [first.recipe_name, second.recipe_name] == BOTH
    assert first.run_id != second.run_id
    assert {first.state, second.state} == {"queued"}


def test_a_recipe_that_cannot_be_used_fails_its_own_run_only(sessions: Sessions):
    event = make_request(recipe="magic", recipes=["magic", "support_bot"])
    request(sessions, event)
    assert [run.state for run in list_runs(sessions, event.request_id)] == ["failed", "queued"]
    [announced] = list_announced(sessions)
    assert (announced.recipe, announced.outcome) == ("magic", "failed")


def test_the_last_end_announces_what_the_others_trained_once_more(sessions: Sessions):
    first, second = hold_tournament(sessions)
    end(sessions, first, "succeeded")
    assert [event.run_id for event in list_announced(sessions)] == [first.run_id]
    end(sessions, second, "failed")
    announced = list_announced(sessions)
    assert [event.run_id for event in announced] == [first.run_id, second.run_id, first.run_id]
    assert announced[0] == announced[2]
    assert len({event.identity for event in announced}) == 2


def test_a_cancelled_run_lets_the_other_go_on(sessions: Sessions):
    first, second = hold_tournament(sessions)
    with sessions() as session, session.begin():
        cancel_run(session, first.run_id, by="ada", topic_prefix="")
    assert [run.state for run in list_runs(sessions, first.request_id)] == ["cancelled", "queued"]
    end(sessions, second, "succeeded")
    assert [event.outcome for event in list_announced(sessions)] == ["cancelled", "succeeded"]


def test_the_deadline_closes_what_goes_on_and_announces_what_was_trained(sessions: Sessions):
    first, _ = hold_tournament(sessions)
    end(sessions, first, "succeeded")
    with sessions() as session, session.begin():
        session.execute(update(Run).values(deadline_at=func.now() - timedelta(seconds=1)))
    make_sweeper(sessions, refuse).sweep()
    announced = [(event.recipe, event.outcome) for event in list_announced(sessions)]
    assert announced == [(BOTH[0], "succeeded"), (BOTH[1], "failed"), (BOTH[0], "succeeded")]


def test_nothing_is_announced_again_while_a_run_goes_on(sessions: Sessions):
    first, second = hold_tournament(sessions)
    open_request(sessions, first.request_id)
    end(sessions, first, "failed")
    assert list_unanswered(sessions) == set()
    end(sessions, second, "succeeded")
    assert list_unanswered(sessions) == {BOTH[1]}, "the failure waits for nothing: the request goes on"


def test_the_status_shows_the_run_that_goes_on_and_how_the_others_fare(sessions: Sessions):
    first, second = hold_tournament(sessions)
    claim(sessions, second.run_id)
    end(sessions, first, "failed")
    with sessions() as session:
        run = read_loop(session)["run"]
    assert (run["recipe"], run["state"], run["others"]) == (BOTH[1], "running", {BOTH[0]: "failed"})


def test_where_no_run_succeeded_the_closing_of_the_request_is_waited_for(sessions: Sessions):
    first, second = hold_tournament(sessions)
    open_request(sessions, first.request_id)
    for run in (first, second):
        end(sessions, run, "failed")
    assert list_unanswered(sessions) == set(BOTH)


def test_of_release_0_1_0_and_ours_whoever_comes_first_queues_the_run(sessions: Sessions):
    def store_as_released(request_id: UUID) -> bool:
        values = {"run_id": new_id(), "request_id": request_id, "dataset": "d" * 64}
        with sessions() as session, session.begin():
            return session.execute(text(RELEASED_INSERT), values).first() is not None

    single, several = make_request(), make_request(recipe=BOTH[0], recipes=BOTH)
    for event in (single, several):
        request(sessions, event)
        assert not store_as_released(event.request_id)
    assert len(list_runs(sessions, single.request_id)) == 1
    assert len(list_runs(sessions, several.request_id)) == 2

    later, of_several = make_request(), make_request(recipe=BOTH[0], recipes=BOTH)
    for event in (later, of_several):
        assert store_as_released(event.request_id)
        assert not store_as_released(event.request_id)
        request(sessions, event)
    assert [run.recipe_name for run in list_runs(sessions, later.request_id)] == ["support_bot"]
    assert [run.recipe_name for run in list_runs(sessions, of_several.request_id)] == BOTH
    with sessions() as session:
        released = session.execute(text("SELECT request_id FROM trainer.runs WHERE recipe_position = 0"))
        assert {row[0] for row in released} == {event.request_id for event in (single, several, later, of_several)}, (
            "release 0.1.0 reads the first recipe's run as the request's"
        )
