"""What the detectors read on a real Postgres, and how they are shown."""

import time
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient
from sqlalchemy import select

from services.curator.app.bootstrap_monitor import create
from services.curator.config.settings import CuratorSettings, MonitorSettings
from services.curator.monitor.handlers import Monitor
from services.curator.monitor.repository import load_votes
from services.curator.requests.repository import load_champion
from shared.auth import create_key
from shared.settings import Settings
from shared.tables.curator import (
    DetectorState,
)
from tests.integration.curator.monitor.scene import (
    HOUR,
    NOW,
    PROMOTED,
    Sessions,
    add_pairs,
    add_vote,
    add_votes,
    find,
    list_requests,
)


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
