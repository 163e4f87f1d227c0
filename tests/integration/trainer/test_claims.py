"""Workers claim runs in fair order, and hold them."""

import threading
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import sessionmaker

from services.trainer import repository
from services.trainer.adapters.artifacts.checkpoints import mark_complete
from services.trainer.handlers.claim import Claim
from shared.db import connect, is_transient
from shared.errors import StaleClaim
from shared.settings import Settings
from shared.tables.trainer import Run
from tests.integration.trainer.scene import (
    Sessions,
    claim,
    claim_next_run,
    fall_silent,
    finish,
    load_run,
    make_request,
    request,
    wait_until,
)


def test_of_two_workers_one_gets_the_run(sessions: Sessions):
    run = request(sessions, make_request())
    claimed: list[Run | None] = []
    threads = [
        threading.Thread(target=lambda name=name: claimed.append(claim(sessions, run.run_id, name))) for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [held] = [taken for taken in claimed if taken]
    assert (held.state, held.fencing_token) == ("running", 1)


def test_a_silent_workers_run_is_taken_over_with_a_new_token(sessions: Sessions):
    run = request(sessions, make_request())
    assert claim(sessions, run.run_id)
    assert claim(sessions, run.run_id, "worker-2") is None
    fall_silent(sessions, run.run_id)
    taken = claim(sessions, run.run_id, "worker-2")
    assert taken is not None
    assert (taken.fencing_token, taken.worker) == (2, "worker-2")


def test_a_stale_worker_can_neither_beat_nor_write(sessions: Sessions, tmp_path: Path):
    run = request(sessions, make_request())
    claim(sessions, run.run_id)
    stale = Claim(sessions, run.run_id, 1, heartbeat_seconds=60)
    with stale.locked():
        pass
    fall_silent(sessions, run.run_id)
    claim(sessions, run.run_id, "worker-2")
    with pytest.raises(StaleClaim), stale.locked():
        mark_complete(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StaleClaim):
        stale.beat()
    with pytest.raises(StaleClaim):
        stale.check()
    stale.release()
    assert load_run(sessions, run.run_id).worker == "worker-2"


def test_a_worker_that_was_away_asks_before_it_goes_on(sessions: Sessions):
    run = request(sessions, make_request())
    assert claim(sessions, run.run_id) is not None
    held = Claim(sessions, run.run_id, 1, heartbeat_seconds=60.0, timeout_seconds=0.05)
    held.check()
    fall_silent(sessions, run.run_id)
    assert claim(sessions, run.run_id, "worker-2") is not None
    threading.Event().wait(0.1)
    with pytest.raises(StaleClaim):
        held.check()


def test_a_worker_that_was_away_goes_on_while_the_database_is_away(sessions: Sessions):
    run = request(sessions, make_request())
    nowhere = sessionmaker(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    held = Claim(nowhere, run.run_id, 1, heartbeat_seconds=60.0, timeout_seconds=0.05)
    threading.Event().wait(0.1)
    held.check()


def test_nobody_takes_a_run_over_while_its_worker_writes(sessions: Sessions):
    run = request(sessions, make_request())
    claim(sessions, run.run_id)
    fall_silent(sessions, run.run_id)
    taken: list[Run | None] = []
    rival = threading.Thread(target=lambda: taken.append(claim(sessions, run.run_id, "worker-2")))
    with Claim(sessions, run.run_id, 1, heartbeat_seconds=60).locked() as (session, held):
        rival.start()
        rival.join(0.3)
        assert taken == []
        held.heartbeat_at = repository.load_now(session)
    rival.join()
    assert taken == [None]


def test_a_stopped_worker_that_was_writing_locks_its_run_no_longer_than_the_timeout(
    sessions: Sessions, database_url: str
):
    run = request(sessions, make_request())
    assert claim(sessions, run.run_id) is not None
    fall_silent(sessions, run.run_id)
    engine = connect(Settings(database_url=SecretStr(database_url)), pool_size=1, idle_seconds=0.3)
    stopped = Claim(sessionmaker(engine), run.run_id, 1, heartbeat_seconds=60)
    with pytest.raises(DBAPIError) as caught, stopped.locked() as (_, held):
        taken_over = claim(sessions, run.run_id, "worker-2")
        assert taken_over is not None
        assert taken_over.fencing_token == 2
        held.weights_sha256 = "w" * 64
    engine.dispose()
    assert is_transient(caught.value)
    assert load_run(sessions, run.run_id).weights_sha256 is None


def test_the_heartbeat_carries_the_progress(sessions: Sessions):
    run = request(sessions, make_request())
    claim(sessions, run.run_id)
    with Claim(sessions, run.run_id, 1, heartbeat_seconds=0.05) as held:
        held.report(step=3, total=40)
        wait_until(lambda: load_run(sessions, run.run_id).progress == {"step": 3, "total": 40})


def test_runs_of_different_requesters_take_turns(sessions: Sessions):
    flood = [request(sessions, make_request(requested_by="key:ada")) for _ in range(5)]
    begun = claim_next_run(sessions)
    assert begun is not None
    assert begun.run_id == flood[0].run_id
    single = request(sessions, make_request(requested_by="monitor"))
    finish(sessions, begun)
    second = claim_next_run(sessions)
    assert second is not None
    assert second.run_id == single.run_id
    third = claim_next_run(sessions)
    assert third is not None
    assert third.run_id == flood[1].run_id
    assert load_run(sessions, single.run_id).requested_by == "monitor"


def test_of_workers_that_choose_at_once_each_gets_another_run(sessions: Sessions):
    runs = {request(sessions, make_request(requested_by=f"key:{name}")).run_id for name in "abcd"}
    claimed: list[Run | None] = []
    threads = [threading.Thread(target=lambda: claimed.append(claim_next_run(sessions))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.run_id for run in claimed if run} == runs
    assert len([run for run in claimed if run is None]) == 2


def test_a_silent_workers_run_is_next_again_and_counts_as_nobodys(sessions: Sessions):
    run = request(sessions, make_request(requested_by="key:ada"))
    later = request(sessions, make_request())
    assert claim_next_run(sessions) is not None
    fall_silent(sessions, run.run_id)
    taken = [claim_next_run(sessions), claim_next_run(sessions), claim_next_run(sessions)]
    assert [found and (found.run_id, found.fencing_token) for found in taken] == [
        (run.run_id, 2),
        (later.run_id, 1),
        None,
    ]


def test_a_worker_is_given_only_runs_for_the_device_it_was_woken_for(sessions: Sessions):
    run = request(sessions, make_request())
    with sessions() as session, session.begin():
        session.execute(update(Run).values(recipe={**run.recipe, "device": "h100"}))
    assert claim_next_run(sessions) is None
    assert claim_next_run(sessions, "a10") is None
    assert claim_next_run(sessions, "h100") is not None
