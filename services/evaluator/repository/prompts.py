"""What the evaluator reads of the curator: gate prompts, what users called harmful, the dataset."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from services.evaluator.domain.prompts import GatePrompt
from services.evaluator.ports import JobPair, JobPrompt
from shared.tables import curator
from shared.tables.evaluator import Comparison, Evaluation

GATE_PROMPTS_READ = 20_000


def load_gate_prompts(session: Session, candidate_versions: Sequence[str]) -> list[GatePrompt]:
    """Return gate prompts that somebody really asked, none of a conversation that a candidate had a part in."""
    prompt, asked = curator.Prompt, curator.Interaction
    by_candidate = aliased(curator.Interaction)
    conversations = select(by_candidate.conversation_id).where(
        by_candidate.model_version.in_(candidate_versions), by_candidate.conversation_id.is_not(None)
    )
    took_part = or_(asked.model_version.in_(candidate_versions), asked.conversation_id.in_(conversations))
    rows = session.execute(
        select(prompt.prompt_hash, prompt.cell, prompt.messages, func.min(asked.served_at), prompt.tools)
        .join(asked, asked.prompt_hash == prompt.prompt_hash)
        .where(prompt.split == "gate")
        .group_by(prompt.prompt_hash)
        .having(~func.bool_or(func.coalesce(took_part, False)))
        .order_by(prompt.prompt_hash)
        .limit(GATE_PROMPTS_READ)
    )
    return [
        GatePrompt(prompt_hash, cell, messages, first_asked_at, tools or [])
        for prompt_hash, cell, messages, first_asked_at, tools in rows
    ]


def load_gate_pairs(session: Session, prompts: Sequence[GatePrompt], limit: int) -> list[JobPair]:
    """Return at most so many active pairs of these gate prompts."""
    known = {prompt.prompt_hash: prompt for prompt in prompts}
    rows = session.scalars(
        select(curator.Pair)
        .join(curator.Prompt, curator.Prompt.prompt_hash == curator.Pair.prompt_hash)
        .where(
            curator.Prompt.split == "gate", curator.Pair.state == "active", curator.Pair.prompt_hash.in_(known.keys())
        )
        .order_by(curator.Pair.pair_id)
        .limit(limit)
    )
    return [
        JobPair(
            pair_id=row.pair_id,
            group=known[row.prompt_hash].cell,
            prompt=JobPrompt(row.prompt_hash, known[row.prompt_hash].messages, known[row.prompt_hash].tools),
            chosen=row.chosen,
            rejected=row.rejected,
        )
        for row in rows
    ]


def load_gate_uses(session: Session) -> dict[str, list[datetime]]:
    """Return, by cell, when each candidate's evaluation was opened that compared answers to one of its prompts."""
    rows = session.execute(
        select(curator.Prompt.cell, Evaluation.created_at)
        .join(Comparison, Comparison.prompt_hash == curator.Prompt.prompt_hash)
        .join(Evaluation, Evaluation.evaluation_id == Comparison.evaluation_id)
        .where(Evaluation.kind == "candidate")
        .distinct()
    )
    uses: dict[str, list[datetime]] = defaultdict(list)
    for cell, at in rows:
        uses[cell].append(at)
    return dict(uses)


def load_harmful_answers(session: Session, prompt_hashes: Sequence[str], complainers: int) -> dict[str, list[str]]:
    """Return answers that at least so many users called harmful and did not take back, by prompt, as redacted."""
    asked, said, retraction = curator.Interaction, curator.Feedback, aliased(curator.Feedback)
    retracted = exists().where(
        retraction.interaction_id == said.interaction_id,
        retraction.type == "retract",
        retraction.event["feedback"]["retracted_event_id"].as_string() == said.event["event_id"].as_string(),
    )
    rows = session.execute(
        select(asked.prompt_hash, asked.answer)
        .join(said, said.interaction_id == asked.interaction_id)
        .where(
            asked.prompt_hash.in_(prompt_hashes),
            said.type == "complaint",
            said.event["feedback"]["category"].as_string() == "harmful",
            ~retracted,
        )
        .group_by(asked.prompt_hash, asked.answer)
        .having(func.count(func.distinct(said.user)) >= complainers)
    )
    harmful: dict[str, list[str]] = defaultdict(list)
    for prompt_hash, answer in rows:
        harmful[prompt_hash].append(answer)
    return dict(harmful)


def load_dataset_uri(session: Session, dataset_sha256: str) -> str | None:
    return session.scalar(select(curator.Dataset.uri).where(curator.Dataset.dataset_sha256 == dataset_sha256))
