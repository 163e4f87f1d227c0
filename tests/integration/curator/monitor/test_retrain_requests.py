"""The drift monitor on a real Postgres: a request asked for, held back, or closed when it is over."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from services.curator.monitor.handlers.look import Monitor
from services.curator.requests.repository import load_champion
from shared.bus import Record, decode
from shared.events import Reason, RetrainRequested
from shared.ids import new_id
from shared.tables.curator import (
    LoopSwitch,
    Outbox,
    RetrainRequestRow,
    RoutingRow,
)
from shared.tables.deployer import RoutingGeneration
from shared.tables.drift import DetectorState
from shared.tables.trainer import Run
from tests.integration.curator.monitor.scene import (
    HOUR,
    NOW,
    PROMOTED,
    RULES,
    Sessions,
    add_pairs,
    add_request,
    find,
    list_requests,
    make_monitor,
    preview,
    refuse,
)


def test_enough_new_pairs_lead_to_one_request_with_the_reason_in_its_event(sessions: Sessions, monitor: Monitor):
    add_pairs(sessions, 9)
    assert monitor.look().decision.summary == "no reason to retrain"
    add_pairs(sessions, 3, "validation")
    add_pairs(sessions, 20, "gate")
    report = monitor.look()
    assert report.decision.action == "request"
    [request] = list_requests(sessions)
    with sessions() as session:
        [row] = session.scalars(select(Outbox))
    event = decode(Record(row.topic, row.key, row.value))
    assert isinstance(event, RetrainRequested)
    assert (event.request_id, event.parent_version, event.recipe) == (request.request_id, "2", "support_bot")
    assert event.reasons == [
        Reason(
            kind="volume",
            summary="12 new preference pairs since the last dataset (threshold 10)",
            value=12,
            threshold=10,
        )
    ]
    again = monitor.look()
    assert find(again, "volume").value == 0
    assert len(list_requests(sessions)) == 1


def test_pairs_are_new_until_a_training_on_them_succeeded(sessions: Sessions, monitor: Monitor):
    add_pairs(sessions, 12)
    assert monitor.look().decision.action == "request"
    assert find(monitor.look(), "volume").value == 0
    with sessions() as session, session.begin():
        request = session.scalars(select(RetrainRequestRow)).one()
        request.state, request.outcome, request.closed_at = "closed", "training_failed", NOW - 2 * HOUR
    assert find(make_monitor(sessions, refuse).look(), "volume").value == 12
    with sessions() as session, session.begin():
        session.add(
            Run(
                run_id=new_id(),
                request_id=request.request_id,
                dataset_sha256=request.dataset_sha256,
                dataset_uri="",
                parent_version="2",
                recipe={},
                recipe_sha256="",
                state="succeeded",
                candidate_version="3",
                deadline_at=NOW,
            )
        )
    assert find(make_monitor(sessions, refuse).look(), "volume").value == 0


def test_the_champion_is_read_from_the_deployer_while_the_curator_has_not_heard(sessions: Sessions):
    with sessions() as session, session.begin():
        session.delete(session.get_one(RoutingRow, "heliotrope"))
        session.flush()
        assert load_champion(session, "heliotrope") is None
        for generation, version in enumerate(("1", "2", "2", "1", "2", "2")):
            table = {"champion": {"version": version}}
            at = PROMOTED + generation * timedelta(minutes=1)
            session.add(RoutingGeneration(family="heliotrope", generation=generation, table=table, created_at=at))
        session.flush()
        champion = load_champion(session, "heliotrope")
    assert champion is not None
    assert (champion.version, champion.since) == ("2", PROMOTED + timedelta(minutes=4))


def test_a_paused_loop_and_a_cooldown_hold_a_request_back(sessions: Sessions, monitor: Monitor):
    add_pairs(sessions, 12, at=NOW - HOUR / 6)
    with sessions() as session, session.begin():
        session.add(LoopSwitch(id=1, paused=True, actor="olga", at=NOW))
    assert monitor.look().decision.summary.startswith("the loop is paused, although: at most 12 new preference pairs")
    with sessions() as session, session.begin():
        session.get_one(LoopSwitch, 1).paused = False
    add_request(sessions, state="closed", outcome="champion", closed_at=NOW - HOUR / 2)
    assert "1800 s of cooldown are left" in monitor.look().decision.summary


def test_shadow_mode_leaves_a_decision_and_no_request(sessions: Sessions):
    add_pairs(sessions, 12)
    rules = replace(RULES, limits=replace(RULES.limits, shadow=True))
    Monitor(sessions, "heliotrope", rules, refuse, preview, lambda: NOW).look()
    with sessions() as session:
        decision = session.get_one(DetectorState, "decision").state
    assert decision["action"] == "shadow"
    assert list_requests(sessions) == []


def test_a_refusal_becomes_words_and_nothing_is_left_behind(sessions: Sessions):
    add_pairs(sessions, 12)
    decision = make_monitor(sessions, refuse).look().decision
    assert (decision.action, decision.summary.split(",")[0]) == ("wait", "a request is open")
    assert list_requests(sessions) == []


def test_a_request_whose_run_failed_is_closed_although_no_event_came(sessions: Sessions, monitor: Monitor):
    request_id = add_request(sessions)
    monitor.look()
    assert [request.state for request in list_requests(sessions)] == ["open"]
    with sessions() as session, session.begin():
        session.add(
            Run(
                run_id=new_id(),
                request_id=request_id,
                dataset_sha256="d",
                dataset_uri="/d",
                parent_version="2",
                recipe={},
                recipe_sha256="r",
                state="failed",
                deadline_at=NOW,
            )
        )
    monitor.look()
    [request] = list_requests(sessions)
    assert (request.state, request.outcome) == ("closed", "training_failed")
