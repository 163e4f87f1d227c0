"""Which answers are asked of a candidate in its shadow, too, and what of an answer is compared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from services.gateway.domain.assignment import calculate_bucket
from services.gateway.domain.completions import Answer
from services.gateway.domain.errors import UpstreamFailed
from services.gateway.domain.requests import ChatRequest
from shared.answers import count_words, is_empty, is_refusal, strip_reasoning
from shared.events import USER_GROUPS, Shadow

CLIENTS_FAULTS = (400, 413, 415, 422)
MOST_CHARACTERS = 50_000
"""What is measured of an answer, and shown to a judge."""
OF_STREAMS = ("stream", "stream_options")


@dataclass(frozen=True)
class Measured:
    """An answer in numbers, as the deployer takes it."""

    failed: bool
    refused: bool
    words: int
    seconds: float


@dataclass(frozen=True)
class Mirrored:
    """What waits to be asked of the candidate."""

    shadow: Shadow
    body: dict[str, Any]
    champion: Measured
    group: int
    text: str
    """The champion's answer, for a judge."""


def is_drawn(shadow: Shadow, subject: str) -> bool:
    """Tell whether an answer of this id is among the shadow's share."""
    return calculate_bucket(str(shadow.rollout_id), subject) < shadow.percent


def find_group(shadow: Shadow, user: str) -> int:
    """Return which of the groups of users one belongs to while this rollout lasts."""
    return int(calculate_bucket(f"{shadow.rollout_id} group", user) * USER_GROUPS / 100)


def is_clients_fault(failure: UpstreamFailed | None) -> bool:
    """Tell whether an answer failed for its request, which says nothing of either version."""
    return failure is not None and failure.upstream_status in CLIENTS_FAULTS


def derive_mirrored(request: ChatRequest, model: str) -> dict[str, Any]:
    """Return what a candidate is asked: the same, whole. Calls of tools in its answer are nobody's to act on."""
    return {name: value for name, value in request.body_for(model).items() if name not in OF_STREAMS}


def extract_text(answer: Answer) -> str:
    """Return what a user reads of an answer."""
    return strip_reasoning(answer.text[:MOST_CHARACTERS])


def measure_answer(answer: Answer, seconds: float, *, failed: bool) -> Measured:
    text = extract_text(answer)
    refused = bool(answer.refusal) or is_refusal(text)
    is_void = is_empty(text) and not answer.tool_calls and not answer.refusal
    return Measured(failed=failed or is_void, refused=refused and not failed, words=count_words(text), seconds=seconds)


def combine_preferences(first: float | None, second: float | None) -> float | None:
    """Return the judge's preference for the candidate, who was shown first and then second; None if one is missing."""
    return None if first is None or second is None else (first + 1 - second) / 2


def describe_comparison(
    comparison_id: str, mirrored: Mirrored, candidate: Measured, preference: float | None
) -> Mapping[str, Any]:
    """Return what the deployer is told: numbers, nothing of the prompt, and of the user one of a thousand groups."""
    return {
        "comparison_id": comparison_id,
        "rollout_id": str(mirrored.shadow.rollout_id),
        "champion": asdict(mirrored.champion),
        "candidate": asdict(candidate),
        "user_group": mirrored.group,
        "preference": preference,
    }
