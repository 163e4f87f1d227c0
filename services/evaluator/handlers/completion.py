"""The votes are in, or time is up: gates, report, announcement."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import structlog
from sqlalchemy.orm import Session

from services.evaluator.domain.policy import read_policy
from services.evaluator.domain.report import (
    Subject,
    Verdict,
    calculate_report_hash,
    derive_report,
    derive_verdict,
    encode_json,
    encode_report,
    split_texts,
)
from services.evaluator.domain.report_page import render_page
from services.evaluator.domain.votes.tournament import decide_tournament
from services.evaluator.handlers.judgement import judge_entrants
from services.evaluator.metrics import EVALUATIONS, GATES
from services.evaluator.repository.comparisons import load_ballots, load_comparisons
from services.evaluator.repository.evaluations import (
    claim_judged,
    close_voting,
    list_voting,
    load_claimed,
    load_unanswered,
    name_candidate,
)
from services.evaluator.settings import EvaluatorSettings
from shared.artifacts import Artifacts
from shared.db import SessionFactory
from shared.errors import StaleClaim
from shared.events import EvaluationCompleted, GateResult, TrainingCompleted
from shared.outbox import announce_again, append_event
from shared.registry import ModelRegistry
from shared.tables.evaluator import Comparison, Evaluation, Outbox

logger = structlog.get_logger(__name__)

REGISTRY_GRACE = timedelta(minutes=10)
"""A report is kept back this long past the deadline for a registry that is away; then it is announced without."""


@dataclass(frozen=True)
class CompletionHandler:
    """Takes evaluations from `voting` to `completed`, and announces them until the deployer has them."""

    sessions: SessionFactory
    registry: ModelRegistry
    artifacts: Artifacts
    settings: EvaluatorSettings
    topic_prefix: str
    clock: Callable[[], datetime]

    def run_next(self) -> Verdict | None:
        """Complete one evaluation that is due, if there is one, and return its verdict."""
        evaluation, comparisons = self._claim()
        if evaluation is None:
            return None
        with structlog.contextvars.bound_contextvars(
            evaluation_id=str(evaluation.evaluation_id), request_id=str(evaluation.request_id)
        ):
            try:
                report = self._derive_report(evaluation, comparisons)
                uri = self._publish(evaluation, report)
                return self._complete(evaluation, comparisons, report, uri)
            except StaleClaim:
                return None
            except Exception:
                self._release(evaluation)
                raise

    def close_decided(self) -> int:
        """End the voting of every evaluation whose votes have decided, or can decide nothing more; return how many."""
        closed = 0
        with self.sessions() as session, session.begin():
            for evaluation_id, generation in list_voting(session).items():
                if "voting" in generation or not (ballots := load_ballots(session, evaluation_id)):
                    continue
                outcome = decide_tournament(ballots, read_policy(generation).win_rate)
                if outcome != "go on":
                    close_voting(session, evaluation_id, self.clock(), outcome)
                    logger.info("voting_closed", evaluation_id=str(evaluation_id), outcome=outcome)
                    closed += 1
        return closed

    def _claim(self) -> tuple[Evaluation | None, Sequence[Comparison]]:
        now = self.clock()
        stale_before = now - timedelta(seconds=self.settings.heartbeat_expiry_seconds)
        with self.sessions() as session, session.begin():
            evaluation = claim_judged(session, now, stale_before)
            return evaluation, load_comparisons(session, evaluation.evaluation_id) if evaluation else []

    def _derive_report(self, evaluation: Evaluation, comparisons: Sequence[Comparison]) -> dict[str, Any]:
        """Judge all candidates, and have the evaluation speak of the chosen one."""
        contest, training = judge_entrants(evaluation, comparisons)
        name_candidate(evaluation, training)
        subject = _derive_subject(evaluation)
        return derive_report(
            subject,
            contest.gates,
            contest.prompts,
            contest.ballots,
            contest.generation,
            self.clock(),
            contest.tournament,
        )

    def _publish(self, evaluation: Evaluation, report: dict[str, Any]) -> str | None:
        try:
            return log_report(self.registry, self.artifacts, evaluation, report)
        except Exception as error:
            if self.clock() < evaluation.deadline_at + REGISTRY_GRACE:
                raise
            logger.error("report_not_stored_in_registry", error=repr(error))
            return None

    def _complete(
        self, evaluation: Evaluation, counted: Sequence[Comparison], report: dict[str, Any], uri: str | None
    ) -> Verdict | None:
        now = self.clock()
        with self.sessions() as session, session.begin():
            row = load_claimed(session, evaluation.evaluation_id, evaluation.claimed_by)
            row.claimed_by, row.heartbeat_at = None, None
            if _is_outdated(counted, report, load_comparisons(session, row.evaluation_id)):
                return None  # the next turn counts the vote, or leaves out the prompt
            name_candidate(row, msgspec.convert(evaluation.training, TrainingCompleted))
            row.state, row.completed_at = "completed", now
            row.verdict, row.report, row.report_uri = report["verdict"], report, uri
            row.report_sha256 = calculate_report_hash(report)
            if row.kind == "candidate":
                self._announce(session, row, now)
        logger.info("evaluation_completed", verdict=report["verdict"], votes=report["votes"])
        gates = msgspec.convert(report["gates"], list[GateResult])
        for gate in gates:
            GATES.labels(gate.name, gate.verdict).inc()
        verdict = derive_verdict(gates)
        if evaluation.kind == "audit":
            return verdict
        EVALUATIONS.labels(verdict).inc()
        return verdict

    def _release(self, evaluation: Evaluation) -> None:
        with self.sessions() as session, session.begin():
            row = load_claimed(session, evaluation.evaluation_id, evaluation.claimed_by)
            row.claimed_by, row.heartbeat_at = None, None

    def _announce(self, session: Session, row: Evaluation, now: datetime) -> None:
        event = derive_event(row)
        append_event(session, Outbox, event, source="evaluator", topic_prefix=self.topic_prefix)
        row.announced_at, row.announcements = now, row.announcements + 1

    def announce_again(self) -> int:
        """Announce completed evaluations once more that had no rollout for a while; return how many."""
        now = self.clock()
        before = now - timedelta(seconds=self.settings.announce_again_seconds)
        return announce_again(
            self.sessions,
            lambda session: load_unanswered(session, before, self.settings.announcements),
            lambda session, row: self._announce(session, row, now),
        )


def derive_event(row: Evaluation) -> EvaluationCompleted:
    """Return the announcement of a completed evaluation, the same each time."""
    assert row.report is not None
    assert row.report_sha256 is not None
    assert row.completed_at is not None
    return EvaluationCompleted(
        request_id=row.request_id,
        evaluation_id=row.evaluation_id,
        run_id=row.run_id,
        candidate_version=row.candidate_version,
        champion_version=row.champion_version,
        verdict=row.report["verdict"],
        gates=msgspec.convert(row.report["gates"], list[GateResult]),
        report_sha256=row.report_sha256,
        completed_at=row.completed_at,
        report_uri=row.report_uri,
    )


def _is_outdated(counted: Sequence[Comparison], report: dict[str, Any], comparisons: Sequence[Comparison]) -> bool:
    """Tell whether a vote came in, or a prompt was erased, since the report was derived."""
    before, now = (sum(each.vote is not None for each in rows) for rows in (counted, comparisons))
    erased = {comparison.prompt_hash for comparison in comparisons if not comparison.messages}
    return before != now or any(prompt["messages"] and prompt["prompt_hash"] in erased for prompt in report["prompts"])


def _derive_subject(evaluation: Evaluation) -> Subject:
    training = msgspec.convert(evaluation.training, TrainingCompleted)
    return Subject(
        evaluation_id=str(evaluation.evaluation_id),
        request_id=str(evaluation.request_id),
        run_id=str(evaluation.run_id),
        candidate_version=evaluation.candidate_version,
        champion_version=evaluation.champion_version,
        dataset_sha256=training.dataset_sha256,
        weights_sha256=training.weights_sha256,
        recipe_sha256=training.recipe_sha256,
        refused_share=training.refused_share,
        refused_rows=training.refused_rows,
    )


def log_report(registry: ModelRegistry, artifacts: Artifacts, evaluation: Evaluation, report: dict[str, Any]) -> str:
    """Store the report with the evaluation's run, in place of an earlier one, and return the folder's URI.

    `report.json` holds the bytes that are hashed, `texts.json` and `report.html` what people wrote and models answered.
    """
    tags = {
        "evaluation_id": str(evaluation.evaluation_id),
        "request_id": str(evaluation.request_id),
        "candidate_version": evaluation.candidate_version,
        "champion_version": evaluation.champion_version,
    }
    what = "audit" if evaluation.kind == "audit" else "evaluation"
    run_id = registry.start_run(f"{what} of version {evaluation.candidate_version}", tags)
    effects = {gate["name"]: gate["effect"] for gate in report["gates"] if gate.get("effect") is not None}
    if effects:
        registry.log_metrics(run_id, effects, step=0)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "report.json").write_bytes(encode_report(report))
        Path(folder, "texts.json").write_bytes(encode_json(split_texts(report)[1]))
        Path(folder, "report.html").write_text(render_page(report), encoding="utf-8")
        uri = registry.log_folder(run_id, Path(folder), "report")
        if artifacts.is_shared:
            uri = artifacts.store(Path(folder), f"reports/{evaluation.evaluation_id}")
    registry.end_run(run_id, succeeded=True)
    return uri
