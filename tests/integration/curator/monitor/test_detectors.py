"""What the detectors read on a real Postgres, and how they are shown."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import numpy as np
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.curator.app.bootstrap_monitor import create
from services.curator.cells.domain.vectors import normalize, pack
from services.curator.config.settings import CuratorSettings, MonitorSettings
from services.curator.monitor.domain.opinion import Repeats
from services.curator.monitor.domain.windows import Span
from services.curator.monitor.handlers.look import Monitor
from services.curator.monitor.repository.windows import count_repeats, count_votes, list_windows
from services.curator.requests.repository import load_champion
from shared.auth import create_key
from shared.ids import new_id
from shared.settings import Settings
from shared.tables.curator import Feedback, Interaction, Prompt
from shared.tables.drift import DetectorState, Vote
from tests.builders import EMBEDDER
from tests.integration.curator.monitor.scene import (
    HOUR,
    NOW,
    PERIOD,
    PROMOTED,
    Sessions,
    add_pairs,
    add_vote,
    add_votes,
    begin_window,
    find,
    list_requests,
    make_monitor,
    refuse,
)


def test_a_fall_in_opinion_leads_to_a_request(sessions: Sessions, monitor: Monitor):
    add_pairs(sessions, 6)
    add_votes(sessions, 0.8, 100, begin_window(PROMOTED))
    add_votes(sessions, 0.3, 120, begin_window(NOW - 2 * HOUR))
    report = monitor.look()
    opinion = find(report, "opinion")
    assert opinion.figures["state"] == "alarm"
    assert report.decision.action == "request"
    [request] = list_requests(sessions)
    assert [reason["kind"] for reason in request.reasons] == ["opinion"]
    assert find(monitor.look(), "opinion").reason is None


def test_only_votes_on_what_the_champion_served_as_champion_count(sessions: Sessions):
    first = begin_window(PROMOTED)
    minutes = [first + timedelta(minutes=n) for n in range(9)]
    with sessions() as session, session.begin():
        add_vote(session, minutes[1], "up", user="ana")
        add_vote(session, minutes[2], 2, user="bo")
        add_vote(session, minutes[3], 3, user="carla")
        add_vote(session, minutes[4], "up", user="dov", version="1")
        add_vote(session, minutes[5], "up", user="eva", served_at=PROMOTED - HOUR)
        add_vote(session, minutes[6], "up", user="finn", state="parked")
        add_vote(session, minutes[7], "up", user=None)
        add_vote(session, minutes[8], "down", user="ana")
        add_vote(session, first + PERIOD, "down", user="ana")
    with sessions() as session:
        champion = load_champion(session, "heliotrope")
        assert champion is not None
        spans = [Span(first + n * PERIOD, first + (n + 1) * PERIOD) for n in range(2)]
        counted = [count_votes(session, champion, span, PERIOD) for span in spans]
        repeats = count_repeats(session, champion, Span(spans[0].began_at, spans[1].ended_at), PERIOD)
    assert [(window.votes, window.ups) for window in counted] == [(2, 1), (1, 0)]
    assert repeats == [Repeats(1, 0, 1), Repeats(2, 1, 1)]


def test_a_vote_counts_when_it_was_received_whenever_it_is_said_to_have_happened(sessions: Sessions):
    first = begin_window(PROMOTED)
    with sessions() as session, session.begin():
        key = add_vote(session, first + PERIOD, "down")
        session.get_one(Feedback, key).happened_at = first
    with sessions() as session:
        champion = load_champion(session, "heliotrope")
        assert champion is not None
        assert count_votes(session, champion, Span(first, first + PERIOD), PERIOD).votes == 0


def test_votes_follow_their_feedback(sessions: Sessions):
    with sessions() as session, session.begin():
        key = add_vote(session, NOW, "up", state="parked")
    assert list_votes(sessions) == []
    with sessions() as session, session.begin():
        session.get_one(Feedback, key).state = "attached"
    assert list_votes(sessions) == [(key, "up")]
    with sessions() as session, session.begin():
        feedback = session.get_one(Feedback, key)
        feedback.event_id, feedback.event = (moved := new_id()), {"feedback": {"type": "thumb", "value": "down"}}
    assert list_votes(sessions) == [(moved, "down")]
    with sessions() as session, session.begin():
        session.delete(session.get_one(Feedback, moved))
    assert list_votes(sessions) == []


def list_votes(sessions: Sessions) -> list[tuple[UUID, str]]:
    with sessions() as session:
        return [(vote.event_id, vote.value) for vote in session.scalars(select(Vote))]


def test_a_window_is_closed_once_whoever_looks_and_whatever_the_clock_says(sessions: Sessions):
    add_votes(sessions, 0.8, 100, begin_window(PROMOTED))
    make_monitor(sessions, refuse).look()
    with sessions() as session:
        seen = [(row.detector, row.began_at, row.closed_at) for row in list_windows(session, None, 1000)]
    assert len(seen) >= 28 + 4
    for at in (NOW - 3 * HOUR, NOW + timedelta(seconds=1)):
        replace(make_monitor(sessions, refuse), clock=partial(echo, at)).look()
    with sessions() as session:
        assert [(row.detector, row.began_at, row.closed_at) for row in list_windows(session, None, 1000)] == seen


def echo(at: datetime) -> datetime:
    return at


def test_a_new_topic_leads_to_a_request_that_names_it(sessions: Sessions, monitor: Monitor):
    add_pairs(sessions, 6)
    windows = list(range(4))
    with sessions() as session, session.begin():
        for window in windows:
            ask_prompts(session, begin_window(PROMOTED, HOUR) + window * HOUR, new_topic=window > 0)
    report = monitor.look()
    drift = find(report, "prompt_drift")
    assert drift.figures["state"] == "alarm"
    assert report.decision.action == "request"
    [request] = list_requests(sessions)
    assert [reason["kind"] for reason in request.reasons] == ["prompt_drift"]
    with sessions() as session:
        newest = list_windows(session, "prompt_drift", 1)[0]
    assert newest.explanation is not None
    assert [topic["change"] for topic in newest.explanation["topics"]] == ["new"]
    assert all(key.startswith("new") for topic in newest.explanation["topics"] for key in topic["examples"])
    assert find(monitor.look(), "prompt_drift").reason is None


DIMENSIONS = 512
"""Of the embedder's vectors."""


def ask_prompts(session: Session, at: datetime, *, new_topic: bool) -> None:
    """80 users ask about one of four things, and later a third of them about a fifth."""
    rng = np.random.default_rng(int(at.timestamp()))
    topics = np.where(rng.random(80) < (0.35 if new_topic else 0.0), 4, rng.integers(0, 4, 80))
    vectors = normalize((np.eye(DIMENSIONS)[topics] + 0.01 * rng.normal(size=(80, DIMENSIONS))).astype(np.float32))
    for n, (topic, embedding) in enumerate(zip(topics, pack(vectors), strict=True)):
        key = f"{'new' if topic == 4 else 'known'}-{at.timestamp()}-{n}"
        prompt = Prompt(prompt_hash=key, messages=[{"role": "user", "content": key}], cell="cell-train", split="train")
        prompt.embedding, prompt.embedder = embedding, EMBEDDER.version
        session.add(prompt)
        session.flush()
        answer = Interaction(interaction_id=new_id(), prompt_hash=key, served_at=at, user=key, answer="Yes.", event={})
        answer.key_id, answer.model_version, answer.content_hash = "frontend", "2", "c"
        session.add(answer)


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
    assert by_name["opinion"]["summary"] == "the champion is new: 7 periods until its rate is learnt"
    assert by_name["opinion"]["threshold"] == by_name["prompt_drift"]["threshold"] == 360
    assert answer.json()["budget"]["days"] == 180
    assert by_name["opinion"]["figures"]["response_rate"] == 1.0
    assert by_name["volume"]["threshold"] == 200
    assert answer.json()["decision"]["action"] == "wait"
    assert 'heliotrope_detector_threshold{detector="volume"} 200.0' in metrics


def count_detectors(sessions: Sessions) -> int:
    with sessions() as session:
        return len(session.scalars(select(DetectorState)).all())
