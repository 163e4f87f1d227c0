"""Bodies of the evaluator's API."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.tables.evaluator import Comparison, Evaluation


class VoteBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    vote: Literal["left", "right", "tie"]


class VoteCast(BaseModel):
    comparison_id: UUID
    vote: str


class ComparisonOffered(BaseModel):
    """What a rater sees, and all that a rater sees."""

    comparison_id: UUID
    messages: list[dict[str, Any]]
    left: str
    right: str

    @classmethod
    def of(cls, row: Comparison) -> "ComparisonOffered":
        return cls(comparison_id=row.comparison_id, messages=row.messages, left=row.left_answer, right=row.right_answer)


class Votes(BaseModel):
    cast: int
    asked: int


class EvaluationSummary(BaseModel):
    evaluation_id: UUID
    kind: str
    request_id: UUID
    run_id: UUID
    candidate_version: str
    champion_version: str
    state: str
    progress: dict[str, Any]
    votes: Votes
    verdict: str | None
    gates: list[dict[str, Any]]
    report_sha256: str | None
    report_uri: str | None
    created_at: datetime
    deadline_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, row: Evaluation, votes: tuple[int, int]) -> "EvaluationSummary":
        return cls(**_derive_fields(row, votes))


class EvaluationDetail(EvaluationSummary):
    """`report` is null until the evaluation is completed."""

    generation: dict[str, Any]
    report: dict[str, Any] | None

    @classmethod
    def of(cls, row: Evaluation, votes: tuple[int, int]) -> "EvaluationDetail":
        return cls(**_derive_fields(row, votes), generation=row.generation, report=row.report)


class EvaluationList(BaseModel):
    evaluations: list[EvaluationSummary]


def _derive_fields(row: Evaluation, votes: tuple[int, int]) -> dict[str, Any]:
    names = EvaluationSummary.model_fields.keys() - {"votes", "gates"}
    return {name: getattr(row, name) for name in names} | {
        "votes": Votes(cast=votes[0], asked=votes[1]),
        "gates": (row.report or {}).get("gates", []),
    }
