"""The drift monitor on a real Postgres: figures read, a request asked for, one that is over closed."""

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session, sessionmaker

from services.curator.app.bootstrap_monitor import create
from services.curator.config.settings import CuratorSettings, MonitorSettings
from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import preview_dataset
from services.curator.monitor.domain.detectors import DetectorResult, MonitorReport
from services.curator.monitor.domain.drift import OpinionRules
from services.curator.monitor.domain.policy import RetrainLimits
from services.curator.monitor.handlers import Monitor, MonitorRules
from services.curator.monitor.ports import RequestRetrain
from services.curator.monitor.repository import load_votes
from services.curator.requests.handlers import request_retrain
from services.curator.requests.repository import load_champion
from shared.auth import create_key
from shared.bus import Record, decode
from shared.errors import Conflict
from shared.events import Reason, RetrainRequested
from shared.ids import new_id
from shared.settings import Settings
from shared.tables.curator import (
    Cell,
    DetectorState,
    Feedback,
    Interaction,
    LoopSwitch,
    Outbox,
    Pair,
    Prompt,
    RetrainRequestRow,
    RoutingRow,
)
from shared.tables.deployer import RoutingGeneration
from shared.tables.trainer import Run
from tests.builders import EMBEDDER

Sessions = sessionmaker[Session]
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
PROMOTED = NOW - 5 * HOUR
RULES = MonitorRules(
    OpinionRules(run_length=500, warm_up=100, period=timedelta(days=1), margin=0.0),
    RetrainLimits(cooldown=HOUR, monthly_budget=30, minimum_pairs=5, shadow=False),
    volume_pairs=10,
    schedule=None,
    window=HOUR,
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    sessions = sessionmaker(engine, expire_on_commit=False)
    with sessions() as session, session.begin():
        for split in ("train", "validation", "gate"):
            session.add(Cell(cell=f"cell-{split}", split=split))
        session.flush()
        session.add_all(
            Prompt(
                prompt_hash=f"{split}-{n}",
                messages=[{"role": "user", "content": f"How do I return item {n} of {split}?"}],
                cell=f"cell-{split}",
                split=split,
            )
            for split in ("train", "validation", "gate")
            for n in range(20)
        )
        row = RoutingRow(family="heliotrope", generation=3, champion_version="2", champion_since=PROMOTED, table={})
        session.add(row)
    return sessions


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(home=tmp_path, database_url=database_url)


@pytest.fixture
def monitor(sessions: Sessions, settings: Settings) -> Monitor:
    def ask(session: Session, *, reasons: list[Reason], now: datetime) -> RetrainRequestRow:
        curator = CuratorSettings(recipe="support_bot")
        return request_retrain(session, settings=settings, curator=curator, embedder=EMBEDDER, reasons=reasons, now=now)

    return make_monitor(sessions, ask)


def make_monitor(sessions: Sessions, ask: RequestRetrain) -> Monitor:
    return Monitor(sessions, "heliotrope", RULES, ask, preview, lambda: NOW)


preview = partial(preview_dataset, caps=Caps(200, 20), embedder=EMBEDDER)


def refuse(session: Session, *, reasons: list[Reason], now: datetime) -> RetrainRequestRow:
    raise Conflict("a request is open")


def add_pairs(sessions: Sessions, count: int, split: str = "train", at: datetime = NOW - HOUR) -> None:
    with sessions() as session, session.begin():
        session.add_all(
            Pair(
                pair_id=f"{split}-{at.timestamp()}-{n}",
                prompt_hash=f"{split}-{n}",
                rule="edit",
                rule_version=1,
                chosen=f"Send it back within 30 days, with order number {n}.",
                rejected="No idea.",
                rejected_interaction_id=new_id(),
                rejected_version="2",
                evidence=[new_id()],
                epsilon=0.08,
                state="active",
                created_at=at,
            )
            for n in range(count)
        )


def add_vote(
    session: Session,
    at: datetime,
    value: str | int,
    *,
    user: str | None = "ana",
    version: str = "2",
    served_at: datetime | None = None,
    state: str = "attached",
) -> UUID:
    kind, interaction_id = ("thumb" if isinstance(value, str) else "rating"), new_id()
    session.add(
        Interaction(
            interaction_id=interaction_id,
            key_id="frontend",
            prompt_hash="train-0",
            answer="Within 30 days.",
            model_version=version,
            served_at=served_at or at,
            user=user,
            content_hash="c",
            event={},
        )
    )
    feedback = Feedback(
        event_id=new_id(),
        key_id="frontend",
        interaction_id=interaction_id,
        type=kind,
        user=user,
        happened_at=at,
        received_at=at,
        content_hash="c",
        state=state,
        event={"feedback": {"type": kind, "value": value}},
    )
    session.add(feedback)
    return feedback.event_id


def add_votes(sessions: Sessions, rate: float, count: int, at: datetime) -> None:
    """From as many users, a second apart, in an order drawn once; exactly this rate."""
    ups = [n < rate * count for n in range(count)]
    random.Random(1).shuffle(ups)
    with sessions() as session, session.begin():
        for n, up in enumerate(ups):
            add_vote(session, at + timedelta(seconds=n), "up" if up else "down", user=f"{at}-{n}")


def list_requests(sessions: Sessions) -> list[RetrainRequestRow]:
    with sessions() as session:
        return list(session.scalars(select(RetrainRequestRow).order_by(RetrainRequestRow.requested_at)))


def find(report: MonitorReport, name: str) -> DetectorResult:
    return next(result for result in report.results if result.name == name)


def add_request(sessions: Sessions, **changes: Any) -> UUID:
    content: dict[str, Any] = {
        "request_id": new_id(),
        "dataset_sha256": "d",
        "parent_version": "2",
        "reasons": [],
        "state": "open",
        "requested_at": NOW - HOUR,
        "deadline_at": NOW + HOUR,
        "announced_at": NOW - HOUR,
    }
    request = RetrainRequestRow(**content | changes)
    with sessions() as session, session.begin():
        session.add(request)
    return request.request_id


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


def test_a_fall_in_opinion_leads_to_a_request(sessions: Sessions, monitor: Monitor):
    add_pairs(sessions, 6)
    add_votes(sessions, 0.8, 100, PROMOTED)
    add_votes(sessions, 0.3, 120, NOW - 2 * HOUR)
    report = monitor.look()
    opinion = find(report, "opinion")
    assert opinion.figures["state"] == "alarm"
    assert report.decision.action == "request"
    [request] = list_requests(sessions)
    assert [reason["kind"] for reason in request.reasons] == ["opinion"]
    assert find(monitor.look(), "opinion").reason is None


def test_only_votes_on_what_the_champion_served_as_champion_count(sessions: Sessions):
    with sessions() as session, session.begin():
        counted = [
            add_vote(session, PROMOTED + timedelta(minutes=1), "up"),
            add_vote(session, PROMOTED + timedelta(minutes=2), 2),
        ]
        add_vote(session, PROMOTED + timedelta(minutes=3), 3)
        add_vote(session, PROMOTED + timedelta(minutes=4), "up", version="1")
        add_vote(session, PROMOTED + timedelta(minutes=5), "up", served_at=PROMOTED - HOUR)
        add_vote(session, PROMOTED + timedelta(minutes=6), "up", state="parked")
    with sessions() as session:
        champion = load_champion(session, "heliotrope")
        assert champion is not None
        votes = load_votes(session, champion)
    assert [(vote.event_id, vote.up) for vote in votes] == [(counted[0], True), (counted[1], False)]


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


def test_the_loops_health_is_shown_and_is_never_a_reason(sessions: Sessions, monitor: Monitor):
    with sessions() as session, session.begin():
        add_vote(session, NOW - HOUR / 2, "down")
        add_vote(session, NOW - HOUR / 4, 5, state="parked")
    health = find(monitor.look(), "loop_health")
    assert health.summary == "2 pieces of feedback on 2 answers, 1 parked, the last 900 s ago"
    assert (health.figures["feedback_thumb"], health.figures["oldest_parked_seconds"]) == (1, 900)
    assert health.reason is None


def test_the_process_shows_its_detectors_to_operators_and_as_metrics(sessions: Sessions, settings: Settings):
    add_votes(sessions, 0.8, 40, NOW - HOUR / 2)
    with sessions() as session, session.begin():
        ops, rater = (create_key(session, f"key-{role}", role) for role in ("ops", "rater"))
    app = create(settings, CuratorSettings(monitor_seconds=0.05), MonitorSettings())
    with TestClient(app) as client:
        deadline = datetime.now(UTC) + timedelta(seconds=20)
        while not count_detectors(sessions) and datetime.now(UTC) < deadline:
            time.sleep(0.05)
        answer = client.get("/v1/detectors", headers={"Authorization": f"Bearer {ops}"})
        refused = client.get("/v1/detectors", headers={"Authorization": f"Bearer {rater}"})
        metrics = client.get("/metrics").text
        assert client.get("/readyz").json()["ready"]
    assert (answer.status_code, refused.status_code) == (200, 403)
    by_name = {detector["name"]: detector for detector in answer.json()["detectors"]}
    assert by_name["opinion"]["summary"] == "measuring the new champion: 40 of 300 votes"
    assert by_name["opinion"]["figures"]["response_rate"] == 1.0
    assert by_name["volume"]["threshold"] == 200
    assert answer.json()["decision"]["action"] == "wait"
    assert 'heliotrope_detector_threshold{detector="volume"} 200.0' in metrics


def count_detectors(sessions: Sessions) -> int:
    with sessions() as session:
        return len(session.scalars(select(DetectorState)).all())
