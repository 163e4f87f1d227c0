"""Rules, answers, and what the rules make of them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from shared.finishes import Ending

Untold = Literal["tool_calls", "reasoning"]
"""What a model wrote beside an answer's text: a row holds the text alone, and would teach not to call, or not to
think."""
State = Literal["active", "contested", "refused"]


@dataclass(frozen=True)
class Rule:
    """A named, versioned rule; `epsilon` is the prior probability that what it says is wrong."""

    name: str
    version: int
    epsilon: float


# Priors, ordered by how directly the user compared the two sides. A snapshot calibrates them (`calibration.py`).
CHOICE = Rule("choice", 1, 0.05)  # both sides seen together, asked on purpose
EDIT = Rule("edit", 1, 0.08)  # the user did work to improve it, yet may have changed a mere detail
SAME_USER_CONTRAST = Rule("same_user_contrast", 2, 0.15)  # one user, but two moments
REGENERATE = Rule("regenerate", 1, 0.30)  # people also regenerate out of curiosity
CROSS_USER_CONTRAST = Rule("cross_user_contrast", 2, 0.35)  # two users, each user's own mean taken off
THUMB = Rule("thumb", 1, 0.15)
RATING = Rule("rating", 1, 0.15)
HARMFUL = Rule("harmful", 1, 0.20)  # a complaint; feeds the safety set too

PAIR_RULES = (CHOICE, EDIT, SAME_USER_CONTRAST, REGENERATE, CROSS_USER_CONTRAST)
LABEL_RULES = (THUMB, RATING, REGENERATE, HARMFUL)


@dataclass(frozen=True)
class Answer:
    """One recorded interaction, as far as the rules look at it."""

    interaction_id: UUID
    prompt_hash: str
    text: str
    model_version: str
    user: str | None = None
    error: str | None = None
    ending: Ending = "whole"
    untold: Untold | None = None


def name_untold(has_calls: bool, has_reasoning: bool) -> Untold | None:
    """Name what of an answer its text does not tell."""
    if has_calls:
        return "tool_calls"
    return "reasoning" if has_reasoning else None


@dataclass(frozen=True)
class UserText:
    """A chosen side that a user wrote."""

    text: str


@dataclass(frozen=True)
class Draft:
    """What a rule says, before it is held against quality, vetoes and contradictions; `voter` is who says it."""

    rule: Rule
    chosen: Answer | UserText
    rejected: Answer
    evidence: tuple[UUID, ...]
    voter: str
    reason: str | None = None
    """Why it is refused already."""


@dataclass(frozen=True)
class PreferencePair:
    """A pair with its state; `reason` says why it is refused or contested."""

    pair_id: str
    draft: Draft
    state: State
    reason: str | None


@dataclass(frozen=True)
class UnpairedLabel:
    label_id: str
    rule: Rule
    answer: Answer
    desirable: bool
    evidence: tuple[UUID, ...]


def calculate_pair_id(draft: Draft) -> str:
    """Calculate the SHA-256 (hex) of rule, version, sorted evidence and sides."""
    chosen = str(draft.chosen.interaction_id) if isinstance(draft.chosen, Answer) else None
    return _calculate_id(draft.rule, draft.evidence, [chosen, draft.chosen.text, draft.rejected.text])


def calculate_label_id(rule: Rule, evidence: tuple[UUID, ...], answer: Answer, desirable: bool) -> str:
    """Calculate the SHA-256 (hex) of rule, version, sorted evidence, answer and label."""
    return _calculate_id(rule, evidence, ["label", str(answer.interaction_id), answer.text, str(desirable)])


def _calculate_id(rule: Rule, evidence: tuple[UUID, ...], parts: Sequence[str | None]) -> str:
    content = [rule.name, rule.version, sorted(str(event_id) for event_id in evidence), *parts]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
