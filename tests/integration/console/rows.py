"""Rows for every page, with text that would run, fetch or break out if it were not escaped."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from shared.ids import new_id
from shared.tables import curator, drift, erasures, evaluator, quarantine, trainer
from tests.integration.deployer.scene import Setup

MARK = "h05t1le"
HOSTILE = (
    f"</textarea></title></script><script>document.title='{MARK}'</script>"
    f"<img src=x onerror=\"document.title='{MARK}'\">"
    f"'\"><svg onload=document.title='{MARK}'> {{{{ 7*7 }}}} javascript:alert(1)"
)
SPLIT = "train"
DATASET = "d" * 64


@dataclass(frozen=True)
class Rows:
    """Names of what there is."""

    interaction: UUID
    pair: str
    dataset: str
    run: UUID
    running: UUID
    evaluation: UUID
    comparison: UUID
    rollout: str
    event: UUID

    def list_paths(self) -> list[str]:
        """Every page that shows text of others."""
        return [
            "/",
            "/rollouts",
            f"/rollouts/{self.rollout}",
            "/evaluations",
            f"/evaluations/{self.evaluation}",
            "/rating",
            "/feedback",
            "/feedback?words=h05t1le&type=edit",
            f"/conversations/{self.interaction}",
            "/pairs",
            "/pairs?state=contested&words=h05t1le",
            f"/pairs/{self.pair}",
            "/review",
            "/datasets",
            f"/datasets/{self.dataset}",
            "/drift",
            "/training",
            f"/training/{self.run}",
            f"/training/{self.running}",
            "/audit",
            "/health",
            "/settings",
        ]


def add_rows(setup: Setup, text: str = HOSTILE) -> Rows:
    """Add rows to every table that a page reads; a rollout waits for an approval."""
    rollout = setup.open_rollout()
    now = datetime.now(UTC)
    with setup.sessions() as session, session.begin():
        interaction, event, pair = _add_evidence(session, now, text)
        _add_dataset(session, now, pair, text)
        run, running = _add_runs(session, now, text)
        evaluation, comparison = _add_evaluation(session, now, run, text)
        _add_drift(session, now, text)
    reject = setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/pause", body={"reason": text})
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/resume", body={"reason": text})
    assert reject.status_code == 200, reject.text
    return Rows(interaction, pair, DATASET, run, running, evaluation, comparison, str(rollout["rollout_id"]), event)


def _add_evidence(session: Session, now: datetime, text: str) -> tuple[UUID, UUID, str]:
    messages = [{"role": "system", "content": text}, {"role": "user", "content": text}]
    session.add(curator.Cell(cell="c", split=SPLIT))
    session.flush()
    session.add(curator.Prompt(prompt_hash="p", messages=messages, cell="c", split=SPLIT, form=1))
    session.flush()
    answers = [new_id(), new_id()]
    for number, answer in enumerate(answers):
        session.add(
            curator.Interaction(
                interaction_id=answer,
                key_id="k",
                prompt_hash="p",
                answer=text,
                model_version="1",
                served_at=now - timedelta(minutes=number),
                user="u" * 32,
                conversation_id=text,
                error=None,
                content_hash="c",
                event={},
            )
        )
    session.flush()
    said: list[dict[str, Any]] = [
        {"type": "thumb", "value": "up"},
        {"type": "edit", "text": text},
        {"type": "complaint", "category": "wrong", "text": text},
        {"type": "comment", "text": text},
    ]
    events = [_add_feedback(session, now, answers[0], feedback) for feedback in said]
    _add_feedback(session, now, new_id(), {"type": "thumb", "value": "down"}, state="parked")
    pairs = [f"{text} {state}" for state in ("active", "contested", "refused")]
    for pair_id, state in zip(pairs, ("active", "contested", "refused"), strict=True):
        session.add(
            curator.Pair(
                pair_id=pair_id if state == "contested" else f"pair-{state}",
                prompt_hash="p",
                rule="edit",
                rule_version=1,
                chosen=text,
                rejected=text,
                chosen_interaction_id=answers[0],
                rejected_interaction_id=answers[1],
                chosen_version="1",
                rejected_version="1",
                evidence=events[1:2],
                epsilon=0.1,
                state=state,
                reason=text if state == "refused" else None,
            )
        )
    session.add(
        curator.Label(
            label_id="label",
            prompt_hash="p",
            rule="thumb",
            rule_version=1,
            interaction_id=answers[0],
            model_version="1",
            desirable=True,
            evidence=events[:1],
            epsilon=0.1,
        )
    )
    for kind, subject in (("user", "u" * 32), ("event", str(events[0])), ("pair", pairs[1])):
        detail = {"events": {"burst": [str(events[0])]}, "told": text} if kind == "user" else {"told": text}
        session.add(
            quarantine.Quarantined(subject_kind=kind, subject_id=subject, reason="burst", detail=detail, found_at=now)
        )
    session.add(
        quarantine.QuarantineDecision(
            subject_kind="event", subject_id=str(events[0]), decision="release", decided_by=text, reason=text
        )
    )
    return answers[0], events[1], "pair-active"


def _add_feedback(
    session: Session, now: datetime, answer: UUID, feedback: dict[str, Any], state: str = "attached"
) -> UUID:
    event_id = new_id()
    row = curator.Feedback(
        event_id=event_id,
        key_id="k",
        interaction_id=answer,
        type=feedback["type"],
        user="u" * 32,
        happened_at=now,
        received_at=now,
        content_hash="c",
        state=state,
        event={"feedback": feedback},
    )
    session.add(row)
    session.flush()
    return event_id


def _add_dataset(session: Session, now: datetime, pair: str, text: str) -> None:
    manifest = {
        "counts": {"train": 60, "validation": 7},
        "rules": {text: 60},
        "refused": {text: 2},
        "left_out": {text: 1},
    }
    session.add(curator.Dataset(dataset_sha256="e" * 64, uri="/datasets/e", parent_sha256=None, manifest=manifest))
    session.flush()
    session.add(curator.Dataset(dataset_sha256=DATASET, uri=text, parent_sha256="e" * 64, manifest=manifest))
    session.add(erasures.DatasetItem(dataset_sha256=DATASET, item_id=pair))
    session.add(
        curator.RetrainRequestRow(
            request_id=new_id(),
            dataset_sha256=DATASET,
            parent_version="1",
            reasons=[{"kind": "manual", "summary": text}],
            requested_by=text,
            state="open",
            requested_at=now,
            deadline_at=now,
            announced_at=now,
        )
    )


def _add_runs(session: Session, now: datetime, text: str) -> tuple[UUID, UUID]:
    made = []
    for state in ("failed", "running"):
        run_id = new_id()
        made.append(run_id)
        session.add(
            trainer.Run(
                run_id=run_id,
                request_id=new_id(),
                recipe_name=text,
                requested_by=text,
                dataset_sha256=DATASET,
                dataset_uri="/datasets/d",
                parent_version="1",
                recipe={"name": text},
                recipe_sha256="r" * 64,
                state=state,
                worker=text,
                progress={"step": 3, "total": 9, "loss": 0.5, "kl": None, "seconds_left": 65.0, "notes": [text]},
                reason=text,
                deadline_at=now + timedelta(hours=1),
                created_at=now - timedelta(minutes=1),
            )
        )
    session.flush()
    return made[0], made[1]


def _add_evaluation(session: Session, now: datetime, run: UUID, text: str) -> tuple[UUID, UUID]:
    evaluation_id, comparison_id = new_id(), new_id()
    gate = {"name": "win_rate", "verdict": "pass", "summary": text, "effect": 0.7, "low": 0.6, "high": 0.8, "n": 40}
    prompt = {
        "prompt_hash": "p",
        "messages": [{"role": "user", "content": text}],
        "candidate": text,
        "champion": text,
        "candidate_score": 0.5,
    }
    report = {
        "gates": [gate, {"name": "safety", "verdict": "inconclusive", "summary": text}],
        "votes": {"raters": [{"rater": text, "votes": 3, "score": 0.5, "left_share": 0.5}]},
        "prompts": [prompt] * 12,
        "dataset_sha256": DATASET,
        "run_id": str(run),
    }
    session.add(
        evaluator.Evaluation(
            evaluation_id=evaluation_id,
            request_id=new_id(),
            run_id=run,
            candidate_version="7",
            champion_version="1",
            training={},
            state="voting",
            report=report,
            generation={},
            deadline_at=now + timedelta(hours=1),
        )
    )
    session.flush()
    for position, candidate_is_left in enumerate((True, False)):
        session.add(
            evaluator.Comparison(
                comparison_id=comparison_id if candidate_is_left else new_id(),
                evaluation_id=evaluation_id,
                position=position,
                prompt_hash="p",
                messages=[{"role": "user", "content": text}],
                left_answer=text,
                right_answer=text,
                candidate_is_left=candidate_is_left,
            )
        )
    return evaluation_id, comparison_id


def _add_drift(session: Session, now: datetime, text: str) -> None:
    figures = {"summary": text, "value": 3.0, "threshold": 9.0, "wants_retraining": False, "figures": {}}
    session.add(drift.DetectorState(name="volume", state=figures, updated_at=now))
    session.add(drift.DetectorState(name="decision", state={"action": "wait", "summary": text}, updated_at=now))
    session.add(
        drift.DriftWindow(
            detector="opinion",
            model_version="1",
            began_at=now,
            ended_at=now,
            closed_at=now,
            inputs={},
            e_value=1.0,
            evidence=2.0,
            threshold=180.0,
            verdict="quiet",
            summary=text,
            explanation=None,
        )
    )
