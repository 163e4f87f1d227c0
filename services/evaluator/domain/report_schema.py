"""What `report.json` holds, as published in docs/api/report.schema.json (`make api-docs`)."""

from typing import Any, Literal

import msgspec

from shared.events import GateResult, Message


class _Part(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    pass


class RaterFigures(_Part, frozen=True):
    """One rater, by number: how far they lean from all, how often the left side won with them."""

    rater: int
    votes: int
    score: float
    leaning: float
    left_share: float | None
    consistent: float | None


class VoteFigures(_Part, frozen=True):
    asked: int
    cast: int
    left: int
    right: int
    tie: int
    left_share_of_decided: float | None
    raters: list[RaterFigures]
    agreement: float | None
    """Krippendorff's alpha; None where no two raters judged the same prompts."""


class PromptFigures(_Part, frozen=True):
    """One prompt. Its texts are in `texts.json`, which erasures change; the report holds their hash."""

    prompt_hash: str
    texts_sha256: str
    candidate_scores: list[float]
    candidate_score: float | None
    messages: list[Message] | msgspec.UnsetType = msgspec.UNSET
    candidate: str | msgspec.UnsetType = msgspec.UNSET
    champion: str | msgspec.UnsetType = msgspec.UNSET


class TournamentPlace(_Part, frozen=True):
    candidate: str
    effect: float
    low: float
    high: float
    beats_champion: bool
    best_rank: int
    worst_rank: int
    verdict: Literal["pass", "fail", "inconclusive"]
    stopped_by: list[str]
    """Gates that block and did not pass."""


class Tournament(_Part, frozen=True):
    """How the candidates of one request stand, with intervals that hold together."""

    winner: str | None
    units: int
    level: float
    places: list[TournamentPlace]
    not_ranked: dict[str, str]
    """Candidates without answers, and why."""


class Report(_Part, frozen=True):
    """The evaluation report: what an admin approves by its SHA-256."""

    format: Literal[1]
    evaluation_id: str
    request_id: str | None
    run_id: str | None
    candidate_version: str
    champion_version: str
    dataset_sha256: str | None
    weights_sha256: str | None
    recipe_sha256: str | None
    refused_share: float | None
    refused_rows: dict[str, int] | None
    verdict: Literal["pass", "fail", "inconclusive"]
    policy_sha256: str | None
    gates: list[GateResult]
    votes: VoteFigures
    generation: dict[str, Any]
    """What answered and what was measured beside: policy, settings, serving, suite, judge, error budget."""
    prompts: list[PromptFigures]
    completed_at: str
    tournament: Tournament | msgspec.UnsetType = msgspec.UNSET


def render_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a report."""
    schema: dict[str, Any] = msgspec.json.schema(Report)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Evaluation report"} | schema
