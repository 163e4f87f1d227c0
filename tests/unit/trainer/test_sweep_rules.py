"""What the sweeper does about a run that is not finished."""

from datetime import UTC, datetime, timedelta

from services.trainer.domain.planning.scheduling import OpenRun, Patience, next_step
from services.trainer.domain.progress import calculate_seconds_left

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PATIENCE = Patience(requeue_after=timedelta(seconds=60), heartbeat_timeout=timedelta(seconds=30))


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def step(state: str, *, enqueued: float | None = None, heartbeat: float | None = None, deadline: float = -600) -> str:
    run = OpenRun(
        state,
        ago(deadline),
        None if enqueued is None else ago(enqueued),
        None if heartbeat is None else ago(heartbeat),
    )
    return next_step(run, NOW, PATIENCE)


def test_a_new_run_is_enqueued_at_once():
    assert step("queued") == "enqueue"


def test_a_run_in_the_queue_is_waited_for_and_then_enqueued_again():
    assert step("queued", enqueued=10) == "wait"
    assert step("queued", enqueued=60) == "enqueue"


def test_a_run_with_a_sign_of_life_is_left_alone():
    assert step("running", enqueued=500, heartbeat=5) == "wait"


def test_a_silent_run_is_enqueued_at_once_and_then_patiently():
    assert step("running", enqueued=500, heartbeat=31) == "enqueue"
    assert step("running", enqueued=1, heartbeat=31) == "wait"
    assert step("running", enqueued=61, heartbeat=92) == "enqueue"


def test_a_run_past_its_deadline_is_closed_whatever_it_does():
    assert step("queued", deadline=0) == "close"
    assert step("running", enqueued=500, heartbeat=1, deadline=1) == "close"


def test_time_left_follows_the_pace_of_this_attempt():
    assert calculate_seconds_left(12, 40, first_step=12, seconds=0.0) is None
    assert calculate_seconds_left(20, 40, first_step=12, seconds=56.0) == 140.0
    assert calculate_seconds_left(40, 40, first_step=12, seconds=196.0) == 0.0
