"""The evaluation report: what an admin approves. Its canonical bytes are hashed; a page for people goes beside it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from services.evaluator.domain.votes.ballots import Ballot
from services.evaluator.domain.votes.raters import calculate_agreement, describe_raters
from services.evaluator.domain.votes.win_rate import calculate_left_share, derive_prompt_scores
from shared.events import GateResult, Message

Verdict = Literal["pass", "fail", "inconclusive"]
TEXTS = ("messages", "candidate", "champion")


@dataclass(frozen=True)
class JudgedPrompt:
    """One gate prompt with both answers."""

    prompt_hash: str
    messages: list[Message]
    candidate: str
    champion: str
    region: str | None = None
    """Of prompt space; None: its own."""


@dataclass(frozen=True)
class Subject:
    """Who was judged against whom, and from what training the candidate came."""

    evaluation_id: str
    request_id: str | None
    run_id: str | None
    candidate_version: str
    champion_version: str
    dataset_sha256: str | None
    weights_sha256: str | None
    recipe_sha256: str | None
    refused_share: float | None = None
    """Share of the dataset's rows that training left out; None: not counted."""
    refused_rows: dict[str, int] | None = None
    """Those rows by reason."""


def derive_verdict(gates: Sequence[GateResult]) -> Verdict:
    """Return fail if any gate that blocks fails; else inconclusive if any is, or if there is none; else pass."""
    verdicts = {gate.verdict for gate in gates if gate.blocks}
    if "fail" in verdicts:
        return "fail"
    return "pass" if verdicts == {"pass"} else "inconclusive"


def derive_report(
    subject: Subject,
    gates: Sequence[GateResult],
    prompts: Sequence[JudgedPrompt],
    ballots: Sequence[Ballot],
    generation: dict[str, Any],
    completed_at: datetime,
    tournament: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Derive the report as JSON values, numbers rounded to six digits so that they survive any store unchanged."""
    scores = derive_prompt_scores(ballots)
    votes = [ballot.vote for ballot in ballots]
    report = {
        "format": 1,
        **msgspec.to_builtins(subject),
        "verdict": derive_verdict(gates),
        "policy_sha256": generation.get("policy_sha256"),
        "gates": msgspec.to_builtins(list(gates)),
        "votes": {
            "asked": len(votes),
            "cast": len(votes) - votes.count(None),
            "left": votes.count("left"),
            "right": votes.count("right"),
            "tie": votes.count("tie"),
            "left_share_of_decided": calculate_left_share(ballots),
            "raters": describe_raters(ballots),
            "agreement": calculate_agreement(ballots),
        },
        "generation": generation,
        "prompts": [
            {
                "prompt_hash": prompt.prompt_hash,
                "messages": prompt.messages,
                "candidate": prompt.candidate,
                "champion": prompt.champion,
                "texts_sha256": _hash_texts(prompt),
                "candidate_scores": [
                    ballot.score
                    for ballot in ballots
                    if ballot.prompt_hash == prompt.prompt_hash and ballot.score is not None
                ],
                "candidate_score": scores.get(prompt.prompt_hash),
            }
            for prompt in prompts
        ],
        "completed_at": completed_at.isoformat(),
    }
    if tournament is not None:
        report["tournament"] = tournament
    rounded = _round(report)
    assert isinstance(rounded, dict)
    return rounded


def _hash_texts(prompt: JudgedPrompt) -> str:
    texts = [prompt.messages, prompt.candidate, prompt.champion]
    return hashlib.sha256(json.dumps(texts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def split_texts(report: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Split a report: (what is hashed and approved, the texts of its prompts). An erasure changes the texts alone."""
    texts = [{name: prompt[name] for name in ("prompt_hash", *TEXTS) if name in prompt} for prompt in report["prompts"]]
    prompts = [{name: value for name, value in prompt.items() if name not in TEXTS} for prompt in report["prompts"]]
    return report | {"prompts": prompts}, texts


def encode_report(report: dict[str, Any]) -> bytes:
    """Encode what is hashed of a report as canonical JSON: sorted keys, no spaces, UTF-8, no words of users."""
    return encode_json(split_texts(report)[0])


def encode_json(value: object) -> bytes:
    """Encode as canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def calculate_report_hash(report: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of a report without its texts, each of which it names by hash."""
    return hashlib.sha256(encode_report(report)).hexdigest()


def _round(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _round(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_round(entry) for entry in value]
    return value
