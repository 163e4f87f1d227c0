"""Both models answer the gate prompts, and the answers become blind comparisons."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import structlog
from sqlalchemy.orm import Session

from services.evaluator.domain.contamination import TrainingTexts, collides
from services.evaluator.domain.error_budget import QUARTER, calculate_budget
from services.evaluator.domain.forgetting import find_solved
from services.evaluator.domain.policy import Policy, calculate_policy_sha256, dump_policy
from services.evaluator.domain.prompts import GatePrompt, choose_prompts, keep_fresh
from services.evaluator.domain.safety import find_repeated, find_said
from services.evaluator.domain.votes.comparisons import derive_tournament
from services.evaluator.handlers.claim import Claim
from services.evaluator.handlers.entrants import (
    Answered,
    clean_answers,
    derive_progress,
    describe_answered,
    describe_failure,
)
from services.evaluator.handlers.models import Models
from services.evaluator.ports import (
    AnswerGenerator,
    Generated,
    GenerationFailed,
    JobPair,
    Progress,
    TaskRunner,
)
from services.evaluator.repository.comparisons import save_comparisons
from services.evaluator.repository.evaluations import claim_generating, list_entrants, load_claimed, load_tested
from services.evaluator.repository.prompts import (
    load_dataset_uri,
    load_gate_pairs,
    load_gate_prompts,
    load_gate_uses,
    load_harmful_answers,
)
from services.evaluator.settings import EvaluatorSettings
from shared.conversation import derive_dialogue
from shared.db import SessionFactory, lock_all
from shared.errors import NotFound, StaleClaim
from shared.registry import ModelRegistry, ModelVersion
from shared.tables.evaluator import Evaluation

logger = structlog.get_logger(__name__)

ATTEMPTS = 3
RECORDED = (
    "gate_prompts",
    "seed",
    "sampling",
    "max_new_tokens",
    "batch_size",
    "dtype",
    "frozen_suite",
    "task_documents",
    "held_out_pairs",
)
"""Settings that decide what is answered."""


class Interrupted(Exception):
    """The process was told to stop; the evaluation goes back for its next start."""


@dataclass(frozen=True)
class GenerationHandler:
    """Takes one evaluation after the other from `generating` to `voting`.

    What cannot be answered goes to `voting` too, without comparisons and with its failure: closing turns that into a
    verdict and a summary.
    """

    sessions: SessionFactory
    registry: ModelRegistry
    generator: AnswerGenerator
    load_questions: Callable[[str], list[str]]
    fetch_model: Callable[[ModelVersion], Path]
    datasets: Path
    settings: EvaluatorSettings
    clock: Callable[[], datetime]
    policy: Policy = field(default_factory=Policy)
    tasks: TaskRunner | None = None

    @property
    def _models(self) -> Models:
        return Models(self.registry, self.generator, self.fetch_model, self.settings, self.tasks)

    def run_next(self, stop: Event) -> bool:
        """Answer the prompts of one evaluation, if one waits; return whether it left `generating`."""
        evaluation = self._claim()
        if evaluation is None:
            return False
        with structlog.contextvars.bound_contextvars(evaluation_id=str(evaluation.evaluation_id)):
            try:
                self._answer(evaluation, stop)
                return True
            except StaleClaim:
                logger.warning("evaluation_taken_over")
                return False
            except (GenerationFailed, NotFound) as error:
                return self._fail(evaluation, error)
            except Interrupted:
                self._release(evaluation, attempts=evaluation.attempts - 1)
                return False
            except Exception:
                self._release(evaluation, attempts=evaluation.attempts - 1)
                raise

    def _claim(self) -> Evaluation | None:
        now = self.clock()
        stale_before = now - timedelta(seconds=self.settings.heartbeat_expiry_seconds)
        with self.sessions() as session, session.begin():
            return claim_generating(session, now, stale_before)

    def _answer(self, evaluation: Evaluation, stop: Event) -> None:
        if self.clock() >= evaluation.deadline_at or evaluation.attempts > ATTEMPTS:
            raise GenerationFailed(f"no answers after {evaluation.attempts - 1} attempts")
        prompts, pairs, examined = self._load_prompts(evaluation)
        versions = list(list_entrants(evaluation))
        answered: Answered = {version: Generated({}) for version in versions}
        tasks: dict[str, dict[str, Any]] = {}
        if prompts:
            with Claim(self.sessions, evaluation, self.clock, self.settings.heartbeat_expiry_seconds) as claim:
                watch = self._watch(evaluation, claim, stop)
                answered = self._models.ask(
                    evaluation.champion_version, versions, self._models.list_asked(prompts), pairs, watch
                )
                tasks = self._models.run_tasks(evaluation.champion_version, answered, lambda: watch(None))
                claim.beat()
        self._save(evaluation, prompts, answered, examined, tasks)

    def _load_prompts(self, evaluation: Evaluation) -> tuple[list[GatePrompt], list[JobPair], dict[str, Any]]:
        """Return the prompts to judge by, and pairs, none that training saw, and counts of what was left out."""
        dataset_sha256 = evaluation.training["dataset_sha256"]
        is_audit = evaluation.kind == "audit"  # what was asked since was asked of the champion
        with self.sessions() as session:
            standing = load_gate_prompts(session, [] if is_audit else list(list_entrants(evaluation)))
            known = keep_fresh(standing, load_gate_uses(session), self.settings.gate_uses_per_renewal)
            uri = load_dataset_uri(session, dataset_sha256) or str(self.datasets / dataset_sha256)
        training = TrainingTexts.index(self.load_questions(uri) if dataset_sha256 else [])
        clean = [prompt for prompt in known if not collides(derive_dialogue(prompt.messages), training)]
        with self.sessions() as session:
            pairs = load_gate_pairs(session, clean, self.settings.held_out_pairs)
        examined: dict[str, Any] = {
            "gate_prompts": len(known),
            "spent": len(standing) - len(known),
            "colliding": len(known) - len(clean),
            "training_texts": len(training.texts),
        }
        if not dataset_sha256:
            examined["not_measured"] = {"contamination": "the champion was adopted: nobody knows what trained it"}
        return choose_prompts(clean, self.settings.gate_prompts, self.settings.seed), pairs, examined

    def _watch(self, evaluation: Evaluation, claim: Claim, stop: Event) -> Callable[[Progress | None], None]:
        """Return what the generator calls every few seconds; it raises what ends the generation."""
        started = time.monotonic()

        def watch(progress: Progress | None) -> None:
            if stop.is_set():
                raise Interrupted
            if self.clock() >= evaluation.deadline_at:
                raise GenerationFailed("the deadline passed while the answers were generated")
            if progress:
                claim.report(derive_progress(progress, time.monotonic() - started))
            claim.check()

        return watch

    def _save(
        self,
        evaluation: Evaluation,
        prompts: list[GatePrompt],
        answered: Answered,
        examined: dict[str, Any],
        tasks: Mapping[str, dict[str, Any]],
    ) -> None:
        made = {version: each for version, each in answered.items() if isinstance(each, Generated)}
        champion = clean_answers(next(iter(made.values())).answers.get(evaluation.champion_version, {}))
        candidates = {version: clean_answers(each.answers.get(version, {})) for version, each in made.items()}
        named = candidates if len(answered) > 1 else {"": next(iter(candidates.values()))}
        seed = f"{self.settings.seed}:{evaluation.evaluation_id}"
        drafts = derive_tournament(prompts, champion, named, seed, self.policy.win_rate)
        now = self.clock()
        with self.sessions() as session, session.begin():
            row = load_claimed(session, evaluation.evaluation_id, evaluation.claimed_by)
            save_comparisons(session, row.evaluation_id, drafts, now)
            harmful = load_harmful_answers(session, list(champion), self.policy.safety.complainers)
            own = {
                version: self._examine(each, row.champion_version, version, candidates[version], champion, harmful)
                | tasks.get(version, {})
                if isinstance(each, Generated)
                else describe_failure(each)
                for version, each in answered.items()
            }
            row.generation = (
                self._state_policy()
                | ({} if row.kind == "audit" else {"error_budget": self._calculate_budget(session, row)})
                | examined
                | {
                    "prompts": len(prompts),
                    "regions": {prompt.prompt_hash: prompt.cell for prompt in prompts},
                    "unanswered": len(prompts) - len({draft.prompt_hash for draft in drafts}),
                    "settings": self.settings.model_dump(include=set(RECORDED)),
                }
                | ({"entrants": own} if len(own) > 1 else next(iter(own.values())))
            )
            self._open_voting(row, now)
        logger.info("comparisons_opened", comparisons=len(drafts), candidates=len(made), **examined)

    def _examine(
        self,
        made: Generated,
        champion_version: str,
        version: str,
        candidate: dict[str, str],
        champion: dict[str, str],
        harmful: dict[str, list[str]],
    ) -> dict[str, Any]:
        """Return what is measured of one candidate's answers before anybody votes."""
        repeated = find_repeated(candidate, harmful, self.policy.safety)
        return describe_answered(made, champion_version, version) | {
            "harmful": {"prompts": len(harmful), "repeated": repeated},
            "suite": self._score_suite(candidate, champion),
        }

    def _score_suite(self, candidate: Mapping[str, str], champion: Mapping[str, str]) -> dict[str, Any] | None:
        items = self._models.list_suite()
        if not items:
            return None
        own = {item.name: candidate[item.name] for item in items if item.name in candidate}
        return {"solved": find_solved(items, candidate, champion), "said": find_said(own, self.policy.safety)}

    def _state_policy(self) -> dict[str, Any]:
        """Freeze the policy into the evaluation: one that changes later does not touch it."""
        return {"policy": dump_policy(self.policy), "policy_sha256": calculate_policy_sha256(self.policy)}

    def _calculate_budget(self, session: Session, row: Evaluation) -> dict[str, Any]:
        """Give this candidate its level of what the quarter's candidates before it have left, one at a time."""
        lock_all(session, ["error budget"])
        tested = load_tested(session, row.created_at - QUARTER, row.evaluation_id)
        allowed, level = self.settings.false_promotions_per_quarter, self.policy.win_rate.level
        return asdict(calculate_budget(tested, row.created_at, allowed, level))

    def _open_voting(self, row: Evaluation, now: datetime) -> None:
        row.state, row.claimed_by, row.heartbeat_at = "voting", None, None
        row.deadline_at = now + timedelta(seconds=self.settings.votes_deadline_seconds)

    def _fail(self, evaluation: Evaluation, error: GenerationFailed | NotFound) -> bool:
        """Allow another attempt while there is one left; then the failure stands, and the verdict says so."""
        logger.warning("generation_failed", attempt=evaluation.attempts, reason=error.detail)
        now = self.clock()
        if evaluation.attempts < ATTEMPTS and now < evaluation.deadline_at:
            self._release(evaluation, attempts=evaluation.attempts)
            return False
        with self.sessions() as session, session.begin():
            row = load_claimed(session, evaluation.evaluation_id, evaluation.claimed_by)
            version = getattr(error, "version", None)
            row.generation = self._state_policy() | {"failure": {"summary": error.detail, "version": version}}
            self._open_voting(row, now)
        return True

    def _release(self, evaluation: Evaluation, *, attempts: int) -> None:
        with self.sessions() as session, session.begin():
            row = load_claimed(session, evaluation.evaluation_id, evaluation.claimed_by)
            row.claimed_by, row.heartbeat_at, row.attempts = None, None, attempts
