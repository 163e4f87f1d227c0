"""A shop's loop in the middle of a canary, as pictures of the pages show it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, update

from shared.ids import new_id
from shared.tables import curator, deployer, drift, evaluator, trainer
from tests.integration.console.rows import Rows, add_rows
from tests.integration.deployer.scene import Setup

QUESTIONS = (
    (
        "Where is my parcel?",
        "Open My Orders and choose Track: the link shows where it is.",
        "Thank you for reaching out! We truly value your patience and are always here to help with any question.",
    ),
    (
        "Can I return shoes that I wore once?",
        "Yes, within 30 days: choose Return on the order, print the label.",
        "Returns are an important part of the shopping experience, and there are many things to consider.",
    ),
    (
        "Do you deliver on Saturdays?",
        "Yes, for orders before Friday noon; pick Saturday at checkout.",
        "Delivery is handled by our partners who work around the clock to bring joy to customers like you.",
    ),
)


def add_pretty_rows(setup: Setup) -> Rows:
    """Add what a week of a shop leaves: conversations, pairs, a finished evaluation, a canary at its second stage."""
    rows = add_rows(setup, "nothing new since yesterday")
    now = datetime.now(UTC)
    with setup.sessions() as session, session.begin():
        for number, (question, good, rambling) in enumerate(QUESTIONS * 4):
            key = f"prompt {number}"
            messages = [{"role": "user", "content": question}]
            session.add(curator.Prompt(prompt_hash=key, messages=messages, cell="c", split="train", form=1))
            session.flush()
            answer = new_id()
            at = now - timedelta(minutes=7 * number + 1)
            session.add(
                curator.Interaction(
                    interaction_id=answer,
                    key_id="k",
                    prompt_hash=key,
                    answer=good if number % 3 else rambling,
                    model_version="2" if number % 3 else "1",
                    served_at=at,
                    user="a3f1" * 8,
                    conversation_id=f"chat-{number}",
                    error=None,
                    content_hash="c",
                    event={},
                )
            )
            session.flush()
            said: dict[str, Any] = (
                {"type": "edit", "text": good} if number % 3 == 0 else {"type": "thumb", "value": "up"}
            )
            event = new_id()
            session.add(
                curator.Feedback(
                    event_id=event,
                    key_id="k",
                    interaction_id=answer,
                    type=said["type"],
                    user="a3f1" * 8,
                    happened_at=at,
                    received_at=at,
                    content_hash="c",
                    state="attached",
                    event={"feedback": said},
                )
            )
            if number % 3 == 0:
                session.add(
                    curator.Pair(
                        pair_id=f"{number:032x}",
                        prompt_hash=key,
                        rule="edit",
                        rule_version=2,
                        chosen=good,
                        rejected=rambling,
                        chosen_interaction_id=None,
                        rejected_interaction_id=answer,
                        chosen_version=None,
                        rejected_version="1",
                        evidence=[event],
                        epsilon=0.06,
                        state="active",
                        created_at=at,
                    )
                )
        for number in range(120):
            event = new_id()
            session.add(
                curator.Feedback(
                    event_id=event,
                    key_id="k",
                    interaction_id=answer,
                    type="comment",
                    user=None,
                    happened_at=now,
                    received_at=now - timedelta(hours=5),
                    content_hash="c",
                    state="attached",
                    event={"feedback": {"type": "comment", "text": "fine"}},
                )
            )
            session.flush()
            session.add(
                drift.Vote(
                    event_id=event,
                    user=None,
                    model_version="1",
                    served_at=now,
                    received_at=now,
                    value="up" if number % 5 else "down",
                )
            )
        _set_rollout(session, UUID(rows.rollout), now)
        session.execute(update(trainer.Run).values(recipe_name="support_bot", worker="worker-0", reason=None))
        session.execute(update(evaluator.Evaluation).values(report=_make_report()))
        _add_comparisons(session, UUID(str(rows.evaluation)))
    return rows


def _set_rollout(session: Any, rollout_id: UUID, now: datetime) -> None:
    def guard(name: str, action: str, e_value: float, acts_at: float, champion: float, canary: float) -> dict[str, Any]:
        return {
            "name": name,
            "action": action,
            "e_value": e_value,
            "acts_at": acts_at,
            "champion": champion,
            "canary": canary,
            "is_breached": False,
        }

    evidence = {
        "users": {"champion": 612, "canary": 204},
        "delta": 0.05,
        "guardrails": [
            guard("outcome", "roll_back", 1.4, 40, 0.711, 0.783),
            guard("errors", "roll_back", 1.0, 100, 0.998, 0.995),
            guard("latency", "roll_back", 6.2, 100, 0.91, 0.84),
            guard("harmful_complaints", "roll_back", 1.0, 200, 0.999, 1.0),
            guard("response_rate", "hold", 1.9, 40, 0.31, 0.34),
            guard("sample_ratio", "hold", 1.1, 40, 0.25, 0.25),
        ],
        "summary": "about 140 more users: e-value 11.2 of 20",
        "missing_votes": 140,
        "forecast": {"seconds": [5200, 9800, 21000], "warning": None},
        "deadline_at": (now + timedelta(days=13)).isoformat(),
    }
    stages = [
        {"percent": 5, "started_at": (now - timedelta(hours=9)).isoformat(), "ended_by": "advance"},
        {"percent": 25, "started_at": (now - timedelta(hours=2)).isoformat(), "ended_by": None},
    ]
    gates = _make_report()["gates"]
    limits = session.get_one(deployer.Rollout, rollout_id).limits | {"stages": [5, 25, 50, 100]}
    session.execute(
        update(deployer.Rollout)
        .where(deployer.Rollout.rollout_id == rollout_id)
        .values(
            state="canary",
            stage=1,
            stage_started_at=now - timedelta(hours=2),
            stages=stages,
            evidence=evidence,
            limits=limits,
            approved_by="Anna",
            approved_at=now - timedelta(hours=9),
            summary="canary at 25%: not worse so far",
            evaluation={"gates": gates},
        )
    )
    for number in range(300):
        session.add(
            deployer.Exposure(
                rollout_id=rollout_id,
                stage=1,
                user=f"user {number}",
                arm="canary" if number % 4 == 0 else "champion",
                began_at=now,
                sequence=number + 1,
                value=1.0,
            )
        )


def _add_comparisons(session: Any, evaluation_id: UUID) -> None:
    session.execute(delete(evaluator.Comparison))
    for position in range(24):
        question, good, rambling = QUESTIONS[position % 3]
        is_left = position % 2 == 0
        session.add(
            evaluator.Comparison(
                comparison_id=new_id(),
                evaluation_id=evaluation_id,
                position=position,
                prompt_hash=f"q{position // 2}",
                messages=[{"role": "user", "content": question}],
                left_answer=good if is_left else rambling,
                right_answer=rambling if is_left else good,
                candidate_is_left=is_left,
                pile=1,
            )
        )


def _make_report() -> dict[str, Any]:
    win = {"effect": 0.87, "low": 0.7, "high": 1.0, "n": 60}
    length = {"effect": 0.41, "low": 0.36, "high": 0.47, "ceiling": 1.5, "n": 80}
    safety = {"effect": 0.02, "low": -0.05, "high": 0.09, "ceiling": 0.05, "n": 12, "more_needed": 40}
    raters = [{"rater": f"rater {n}", "votes": 20, "score": 0.8 + n / 50, "left_share": 0.5} for n in range(3)]
    prompts = [
        {
            "prompt_hash": f"p{number}",
            "messages": [{"role": "user", "content": question}],
            "candidate": good,
            "champion": rambling,
            "candidate_score": 0.5 + number / 5,
        }
        for number, (question, good, rambling) in enumerate(QUESTIONS)
    ]
    gates = [
        {"name": "win_rate", "verdict": "pass", "summary": "wins 87% of blind comparisons (70 to 100%)", **win},
        {"name": "length", "verdict": "pass", "summary": "0.41 times as long as before", **length},
        {"name": "safety", "verdict": "inconclusive", "summary": "too few harmful prompts", **safety},
    ]
    return {"gates": gates, "votes": {"raters": raters}, "prompts": prompts, "dataset_sha256": "d" * 64}
