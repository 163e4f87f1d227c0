"""The sweeper enqueues, closes and announces again."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, text, update

from shared.ids import new_id
from shared.tables.curator import LoopSwitch
from shared.tables.trainer import Run
from tests.integration.trainer.scene import Sessions, claim, list_announced, make_request, make_sweeper, refuse, request


def test_a_new_run_is_enqueued_once(sessions: Sessions):
    request(sessions, make_request())
    enqueued: list[str | None] = []
    sweeper = make_sweeper(sessions, enqueued.append)
    for _ in range(3):
        sweeper.sweep()
    assert enqueued == [None]


def test_a_queue_that_is_away_loses_no_run(sessions: Sessions):
    request(sessions, make_request())
    with pytest.raises(ConnectionError):
        make_sweeper(sessions, refuse).sweep()
    enqueued: list[str | None] = []
    make_sweeper(sessions, enqueued.append).sweep()
    assert enqueued == [None]


def test_a_run_that_lost_its_worker_is_enqueued_again(sessions: Sessions):
    run = request(sessions, make_request())
    enqueued: list[str | None] = []
    sweeper = make_sweeper(sessions, enqueued.append)
    sweeper.sweep()
    claim(sessions, run.run_id)
    sweeper.sweep()
    assert len(enqueued) == 1
    with sessions() as session, session.begin():
        hour, minute = func.now() - timedelta(hours=1), func.now() - timedelta(minutes=1)
        session.execute(update(Run).values(enqueued_at=hour, heartbeat_at=minute))
    sweeper.sweep()
    assert enqueued == [None, None]


def test_a_paused_loop_starts_no_run(sessions: Sessions):
    request(sessions, make_request())
    with sessions() as session, session.begin():
        session.add(LoopSwitch(id=1, paused=True, actor="ada", at=datetime.now(UTC)))
    enqueued: list[str | None] = []
    sweeper = make_sweeper(sessions, enqueued.append)
    sweeper.sweep()
    assert enqueued == []
    with sessions() as session, session.begin():
        session.execute(update(LoopSwitch).values(paused=False))
    sweeper.sweep()
    assert enqueued == [None]


def test_a_run_past_its_deadline_is_closed_with_the_reason(sessions: Sessions):
    run = request(sessions, make_request(deadline_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert claim(sessions, run.run_id) is None
    make_sweeper(sessions, refuse).sweep()
    [announced] = list_announced(sessions)
    assert announced.outcome == "failed"
    assert announced.reason == "past its deadline while queued, after 0 attempts"


def test_a_result_that_nobody_took_up_is_announced_again(sessions: Sessions):
    run = request(sessions, make_request())
    with sessions() as session, session.begin():
        now = func.now()
        minute_ago = func.now() - timedelta(minutes=1)
        session.execute(update(Run).values(state="succeeded", finished_at=now, announced_at=minute_ago))
    sweeper = make_sweeper(sessions, refuse)
    sweeper.sweep()
    sweeper.sweep()  # only just announced
    assert [event.run_id for event in list_announced(sessions)] == [run.run_id]
    with sessions() as session, session.begin():
        session.execute(update(Run).values(announced_at=func.now() - timedelta(minutes=1)))
        session.execute(
            text(
                "INSERT INTO evaluator.evaluations (evaluation_id, request_id, run_id, candidate_version,"
                " champion_version, training, state, deadline_at)"
                " VALUES (:id, :request, :run, '2', '1', '{}', 'generating', now())"
            ),
            {"id": new_id(), "request": run.request_id, "run": run.run_id},
        )
    sweeper.sweep()
    assert len(list_announced(sessions)) == 1
