"""The overview: every stage of the loop, what waits for a person, and how the model is doing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy.orm import Session

from services.console.domain.figures import tell_count
from services.console.domain.loop import (
    Praise,
    Stage,
    Wait,
    derive_mood,
    describe_model,
    list_next_steps,
)
from services.console.repository import loop
from services.console.repository.counting import CAP
from shared.db import SessionFactory
from shared.summaries import read_summary


@dataclass(frozen=True)
class Overview:
    stages: list[Stage]
    waits: list[Wait]
    sentence: str
    next_steps: list[str]
    paused_by: str | None
    rollout: Any
    champion: str | None
    at: datetime


@dataclass
class OverviewLooks:
    """Looks at the loop for all browsers together: at most once in `look_seconds`."""

    sessions: SessionFactory
    family: str
    clock: Callable[[], datetime]
    look_seconds: float
    _lock: Lock = field(default_factory=Lock)
    _overview: Overview | None = None
    _pulse: tuple[datetime, str] | None = None

    def look(self) -> Overview:
        """Return the overview, at most `look_seconds` old."""
        with self._lock:
            now = self.clock()
            if self._overview is None or (now - self._overview.at).total_seconds() >= self.look_seconds:
                with self.sessions() as session:
                    self._overview = load_overview(session, self.family, now)
            return self._overview

    def feel_pulse(self) -> str:
        """Return what changes whenever the loop has moved, at most `look_seconds` old."""
        with self._lock:
            now = self.clock()
            if self._pulse is None or (now - self._pulse[0]).total_seconds() >= self.look_seconds:
                with self.sessions() as session:
                    self._pulse = now, loop.load_pulse(session)
            return self._pulse[1]


def load_overview(session: Session, family: str, now: datetime) -> Overview:
    """Look at every stage."""
    routing, reign = loop.load_routing(session, family), loop.load_reign(session, family)
    champion = routing.table["champion"]["version"] if routing else None
    stages = [
        *_look_at_evidence(session, now),
        _look_at_drift(session, now),
        _look_at_training(session, now),
        _look_at_evaluation(session, now),
        _look_at_rollout(session, now),
        _look_at_champion(routing, now),
    ]
    switch = loop.load_switch(session)
    return Overview(
        stages,
        _list_waits(session),
        describe_model(_load_praise(session, champion, reign), now),
        list_next_steps(stages),
        switch.actor if switch else None,
        loop.load_newest_rollout(session),
        champion,
        now,
    )


def _look_at_evidence(session: Session, now: datetime) -> list[Stage]:
    served_at, served = loop.measure_answers(session, now)
    heard_at, heard, parked = loop.measure_feedback(session, now)
    made_at, made = loop.measure_pairs(session, now)
    contested, quarantined = loop.count_set_aside(session)
    hour = "in the last hour"
    set_aside = (
        f"{tell_count(contested, loop.WAITING)} contested, {tell_count(quarantined, loop.WAITING)} in quarantine"
    )
    parking = f"{tell_count(parked, loop.WAITING)} wait for their answer" if parked else hour
    return [
        Stage("Answers", "/feedback", tell_count(served, CAP), hour, served_at, derive_mood(served_at, now)),
        Stage("Feedback", "/feedback", tell_count(heard, CAP), parking, heard_at, derive_mood(heard_at, now)),
        Stage("Pairs", "/pairs", tell_count(made, CAP), set_aside, made_at, derive_mood(made_at, now)),
    ]


def _look_at_drift(session: Session, now: datetime) -> Stage:
    detectors = loop.list_detectors(session)
    decision = next((each for each in detectors if each.name == "decision"), None)
    wants = [each for each in detectors if each.state.get("wants_retraining")]
    looked_at = max((each.updated_at for each in detectors), default=None)
    note = read_summary(decision.state) if decision else "has not looked yet"
    figure = ", ".join(each.name.replace("_", " ") for each in wants) or ("quiet" if detectors else "none")
    return Stage("Drift", "/drift", figure, note, looked_at, derive_mood(looked_at, now))


def _look_at_training(session: Session, now: datetime) -> Stage:
    run, request = loop.load_newest_run(session), loop.load_newest_request(session)
    if run is None:
        note = "asked for, no run yet" if request else "nothing was asked for yet"
        at = request.requested_at if request else None
        return Stage("Training", "/training", "no run", note, at, derive_mood(at, now))
    moved_at = run.finished_at or run.heartbeat_at or run.created_at
    step, total = run.progress.get("step"), run.progress.get("total")
    note = f"step {step} of {total}" if run.state == "running" and step is not None else (run.reason or run.recipe_name)
    mood = derive_mood(moved_at, now, failed=run.state == "failed")
    return Stage("Training", f"/training/{run.run_id}", run.state, note, moved_at, mood)


def _look_at_evaluation(session: Session, now: datetime) -> Stage:
    found = loop.load_newest_evaluation(session)
    if found is None:
        return Stage("Evaluation", "/evaluations", "none", "no candidate was judged yet", None, "empty")
    cast, asked = loop.count_votes(session, found.evaluation_id)
    note = f"version {found.candidate_version} against {found.champion_version}, {cast:,} of {asked:,} votes"
    moved_at = found.completed_at or found.created_at
    mood = derive_mood(moved_at, now, waits=found.state == "voting", failed=found.verdict == "fail")
    path = f"/evaluations/{found.evaluation_id}"
    return Stage("Evaluation", path, found.verdict or found.state, note, moved_at, mood)


def _look_at_rollout(session: Session, now: datetime) -> Stage:
    rollout = loop.load_newest_rollout(session)
    if rollout is None:
        return Stage("Rollout", "/rollouts", "none", "no candidate has come this far", None, "empty")
    moved_at = rollout.closed_at or rollout.stage_started_at or rollout.approved_at or rollout.created_at
    mood = derive_mood(
        moved_at,
        now,
        waits=rollout.state in ("awaiting_approval", "paused"),
        failed=rollout.state in ("aborted", "rolled_back"),
    )
    figure = rollout.state.replace("_", " ")
    return Stage("Rollout", f"/rollouts/{rollout.rollout_id}", figure, rollout.summary, moved_at, mood)


def _look_at_champion(routing: Any, now: datetime) -> Stage:
    if routing is None:
        return Stage("Champion", "/rollouts", "none", "adopt a model first", None, "empty")
    table = routing.table
    canary = f"canary {table['canary']['version']} at {table['canary_percent']:g}%" if table.get("canary") else ""
    holdback = (
        f"holdback {table['holdback']['version']} at {table['holdback_percent']:g}%" if table.get("holdback") else ""
    )
    note = ", ".join(filter(None, (canary, holdback))) or "serves everybody"
    mood = derive_mood(routing.created_at, now)
    return Stage("Champion", "/rollouts", f"version {table['champion']['version']}", note, routing.created_at, mood)


def _load_praise(session: Session, champion: str | None, reign: Any) -> Praise | None:
    if champion is None:
        return None
    ups, votes = loop.count_praise(session, champion)
    since = reign.champion_since if reign and reign.champion_version == champion else None
    return Praise(champion, ups, votes, since)


def _list_waits(session: Session) -> list[Wait]:
    waits = []
    for rollout in loop.list_open_rollouts(session):
        path = f"/rollouts/{rollout.rollout_id}"
        if rollout.state == "awaiting_approval":
            waits.append(Wait(f"Version {rollout.candidate_version} waits for an approval", path))
        elif rollout.state == "paused":
            waits.append(Wait(f"The rollout of version {rollout.candidate_version} is paused", path))
    for voting in loop.list_voting(session):
        cast, asked = loop.count_votes(session, voting.evaluation_id)
        rivals = f"Version {voting.candidate_version} against {voting.champion_version}"
        waits.append(Wait(f"{rivals} is being rated: {cast:,} of {asked:,} votes", "/rating"))
    return waits + _list_review(session)


def _list_review(session: Session) -> list[Wait]:
    contested, quarantined = loop.count_set_aside(session)
    waits = []
    if quarantined:
        waits.append(Wait(f"In quarantine, undecided: {tell_count(quarantined, loop.WAITING)}", "/review"))
    if contested:
        waits.append(Wait(f"Contested pairs: {tell_count(contested, loop.WAITING)}", "/pairs?state=contested"))
    return waits
