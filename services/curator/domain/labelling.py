"""Unpaired labels: this completion is desirable, or not."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from services.curator.domain.rules import (
    HARMFUL,
    RATING,
    REGENERATE,
    THUMB,
    Answer,
    Rule,
    UnpairedLabel,
    calculate_label_id,
)
from services.curator.domain.text import derive_words
from shared.events import Complaint, FeedbackReceived, Regenerate, Thumb
from shared.feedback import derive_polarity


def derive_labels(
    answers: Mapping[UUID, Answer], standing: list[FeedbackReceived], used: set[UUID], vetoed: set[object]
) -> list[UnpairedLabel]:
    """Labels by id.

    - A thumb or rating that no active pair rests on; not if its user said the opposite of the answer as well.
    - A replaced answer is undesirable, unless its user liked it; one that somebody found harmful is undesirable.
    - Failed and empty answers get none; one that a complaint stands against, or that was cut off, is never desirable.
    """
    opinions: dict[tuple[str | None, UUID], set[bool]] = defaultdict(set)
    for event in standing:
        if (polarity := derive_polarity(event.feedback)) is not None:
            opinions[event.user, event.interaction_id].add(polarity)
    labels = [
        _label(rule, event, answer, desirable)
        for event in standing
        for rule, desirable in _read(event, opinions[event.user, event.interaction_id], used)
        if not (answer := answers[event.interaction_id]).error and derive_words(answer.text)
        if not (desirable and (answer.truncated or answer.interaction_id in vetoed))
    ]
    return sorted(labels, key=lambda label: label.label_id)


def _read(event: FeedbackReceived, opinions: set[bool], used: set[UUID]) -> Iterable[tuple[Rule, bool]]:
    polarity = derive_polarity(event.feedback)
    if polarity is not None and len(opinions) == 1 and event.event_id not in used:
        yield (THUMB if isinstance(event.feedback, Thumb) else RATING), polarity
    match event.feedback:
        case Regenerate() if True not in opinions:
            yield REGENERATE, False
        case Complaint(category="harmful"):
            yield HARMFUL, False


def _label(rule: Rule, event: FeedbackReceived, answer: Answer, desirable: bool) -> UnpairedLabel:
    evidence = (event.event_id,)
    return UnpairedLabel(calculate_label_id(rule, evidence, answer, desirable), rule, answer, desirable, evidence)
