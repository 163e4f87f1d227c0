"""Named rules that turn the answers to one prompt and the current feedback on them into pairs and labels."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from services.curator.pairs.domain.assessment import assess_quality, derive_states, has_failed
from services.curator.pairs.domain.rules import (
    CHOICE,
    CROSS_USER_CONTRAST,
    EDIT,
    HARMFUL,
    RATING,
    REGENERATE,
    SAME_USER_CONTRAST,
    THUMB,
    Answer,
    Draft,
    PreferencePair,
    Rule,
    UnpairedLabel,
    UserText,
    calculate_label_id,
)
from shared.conversation import derive_words
from shared.events import Choice, Complaint, Edit, FeedbackReceived, Rating, Regenerate, Thumb
from shared.feedback import derive_current_feedback, derive_polarity, effective_time

CONTRASTS_PER_USER = 20
"""Of one user on one prompt: keeps the rule from growing with the square of what one user says."""
RATING_DISTANCE = 2

Answers = Mapping[UUID, Answer]


@dataclass(frozen=True)
class Derived:
    """What one prompt group yields."""

    pairs: list[PreferencePair]
    labels: list[UnpairedLabel]


def derive_group(answers: Answers, events: list[FeedbackReceived], set_aside: frozenset[UUID] = frozenset()) -> Derived:
    """Derive the pairs and labels of one prompt group, each by id.

    `answers` holds every interaction that an event speaks of, also one that turns out to belong to another prompt. What
    is in `set_aside` supports nothing, and yet an earlier event of the same user that it replaced stays replaced.
    """
    current = [
        event
        for event in derive_current_feedback(events)
        if event.interaction_id in answers and event.event_id not in set_aside
    ]
    vetoed: set[object] = {event.interaction_id for event in current if isinstance(event.feedback, Complaint)}
    last = drop_contradicted(current)
    drafts = [
        *derive_choices(answers, current),
        *derive_edits(answers, current),
        *derive_same_user_contrasts(answers, last),
        *derive_cross_user_contrasts(answers, current),
        *derive_regenerations(answers, last),
    ]
    pairs = derive_states([(draft, assess_quality(draft, vetoed)) for draft in drafts])
    used = {event_id for pair in pairs if pair.state == "active" for event_id in pair.draft.evidence}
    return Derived(pairs, derive_labels(answers, current, used, vetoed))


def drop_contradicted(current: list[FeedbackReceived]) -> list[FeedbackReceived]:
    """Leave out the thumbs and ratings whose user later said the opposite of the same answer, by either of them."""
    last: dict[tuple[str | None, UUID], bool] = {}
    for event in sorted(current, key=lambda event: (effective_time(event), event.event_id)):
        if (polarity := derive_polarity(event.feedback)) is not None:
            last[event.user, event.interaction_id] = polarity
    return [
        event
        for event in current
        if (polarity := derive_polarity(event.feedback)) is None or last[event.user, event.interaction_id] == polarity
    ]


def derive_choices(answers: Answers, current: list[FeedbackReceived]) -> Iterable[Draft]:
    """Prefer the chosen answer; refused unless both are of one prompt and user. A tie gives nothing."""
    for event in current:
        if not isinstance(event.feedback, Choice) or event.feedback.tie:
            continue
        one, other = answers[event.interaction_id], answers.get(event.feedback.other_interaction_id)
        preferred = event.feedback.preferred_interaction_id
        if other is None or preferred is None:
            continue
        chosen, rejected = (other, one) if preferred == other.interaction_id else (one, other)
        reason = _assess_choice(event, one, other, preferred)
        yield Draft(CHOICE, chosen, rejected, (event.event_id,), _voter(event), reason)


def _assess_choice(event: FeedbackReceived, one: Answer, other: Answer, preferred: UUID) -> str | None:
    if one.interaction_id == other.interaction_id:
        return "same_answer"
    if preferred not in (one.interaction_id, other.interaction_id):
        return "preferred_neither"
    if one.prompt_hash != other.prompt_hash:
        return "different_prompts"
    if one.user != other.user or (one.user and event.user and one.user != event.user):
        return "different_users"
    return None


def derive_edits(answers: Answers, current: list[FeedbackReceived]) -> Iterable[Draft]:
    """Prefer the user's text to the answer that it corrects."""
    for event in current:
        if isinstance(event.feedback, Edit):
            chosen = UserText(event.feedback.text)
            yield Draft(EDIT, chosen, answers[event.interaction_id], (event.event_id,), _voter(event))


def derive_same_user_contrasts(answers: Answers, current: list[FeedbackReceived]) -> Iterable[Draft]:
    """Contrast one user's thumb up and thumb down on two answers, or ratings two or more apart."""
    spoken: dict[tuple[str, type], list[FeedbackReceived]] = defaultdict(list)
    for event in current:
        if event.user and isinstance(event.feedback, Thumb | Rating):
            spoken[event.user, type(event.feedback)].append(event)
    for _, events in sorted(spoken.items(), key=lambda item: (item[0][0], item[0][1].__name__)):
        in_order = sorted(events, key=lambda event: event.interaction_id)
        yield from islice(_contrast(answers, in_order), CONTRASTS_PER_USER)


def _contrast(answers: Answers, events: list[FeedbackReceived]) -> Iterable[Draft]:
    for better in events:
        for worse in events:
            if _is_above(better, worse):
                chosen, rejected = answers[better.interaction_id], answers[worse.interaction_id]
                evidence = (better.event_id, worse.event_id)
                yield Draft(SAME_USER_CONTRAST, chosen, rejected, evidence, _voter(better))


def _is_above(better: FeedbackReceived, worse: FeedbackReceived) -> bool:
    match better.feedback, worse.feedback:
        case Thumb(value="up"), Thumb(value="down"):
            return True
        case Rating(value=high), Rating(value=low):
            return high - low >= RATING_DISTANCE
        case _:
            return False


def derive_cross_user_contrasts(answers: Answers, current: list[FeedbackReceived]) -> Iterable[Draft]:
    """Prefer an answer that everyone liked to one that everyone else disliked; each answer is used once.

    Nobody may have spoken of both: that is a contrast of one user, or a contradiction. Each user's own mean is taken
    off when a snapshot is made (`weighing/domain/user_means.py`), since it depends on all that the user ever said.
    """
    votes: dict[UUID, list[FeedbackReceived]] = defaultdict(list)
    for event in current:
        if derive_polarity(event.feedback) is not None:
            votes[event.interaction_id].append(event)
    liked = [key for key in sorted(votes) if all(derive_polarity(event.feedback) for event in votes[key])]
    disliked = [key for key in sorted(votes) if not any(derive_polarity(event.feedback) for event in votes[key])]
    for worse in disliked:
        raters = {event.user for event in votes[worse]} - {None}
        better = next((key for key in liked if not raters & {event.user for event in votes[key]}), None)
        if better is None:
            continue
        liked.remove(better)
        evidence = tuple(sorted(event.event_id for event in votes[better] + votes[worse]))
        voter = f"{_voter(votes[better][0])}+{_voter(votes[worse][0])}"
        yield Draft(CROSS_USER_CONTRAST, answers[better], answers[worse], evidence, voter)


def derive_regenerations(answers: Answers, current: list[FeedbackReceived]) -> Iterable[Draft]:
    """Prefer the replacement to the replaced answer, if the same user also praised the replacement.

    A replacement that was itself replaced is an intermediate of a chain and never chosen.
    """
    replaced = {event.interaction_id for event in current if isinstance(event.feedback, Regenerate)}
    for event in current:
        if not isinstance(event.feedback, Regenerate) or event.user is None:
            continue
        replacement = answers.get(event.feedback.replacement_interaction_id)
        praise = [
            other.event_id
            for other in current
            if other.user == event.user
            and other.interaction_id == event.feedback.replacement_interaction_id
            and derive_polarity(other.feedback)
        ]
        if replacement is None or replacement.interaction_id in replaced or not praise:
            continue
        original = answers[event.interaction_id]
        reason = None if replacement.prompt_hash == original.prompt_hash else "different_prompts"
        yield Draft(REGENERATE, replacement, original, (event.event_id, *praise), _voter(event), reason)


def _voter(event: FeedbackReceived) -> str:
    return event.user or "anonymous"


def derive_labels(
    answers: Mapping[UUID, Answer], current: list[FeedbackReceived], used: set[UUID], vetoed: set[object]
) -> list[UnpairedLabel]:
    """Derive the labels, by id.

    - A thumb or rating that no active pair rests on; not if its user said the opposite of the answer as well.
    - A replaced answer is undesirable, unless its user liked it; one that somebody found harmful is undesirable.
    - Failed, filtered and empty answers get none, nor do those whose text is not all that the model wrote.
    - One that a complaint stands against, or that did not end by itself, is never desirable.
    """
    opinions: dict[tuple[str | None, UUID], set[bool]] = defaultdict(set)
    for event in current:
        if (polarity := derive_polarity(event.feedback)) is not None:
            opinions[event.user, event.interaction_id].add(polarity)
    labels = [
        _make_label(rule, event, answer, desirable)
        for event in current
        for rule, desirable in _derive_rules(event, opinions[event.user, event.interaction_id], used)
        if not has_failed(answer := answers[event.interaction_id]) and derive_words(answer.text) and not answer.untold
        if not (desirable and (answer.ending != "whole" or answer.interaction_id in vetoed))
    ]
    return sorted(labels, key=lambda label: label.label_id)


def _derive_rules(event: FeedbackReceived, opinions: set[bool], used: set[UUID]) -> Iterable[tuple[Rule, bool]]:
    polarity = derive_polarity(event.feedback)
    if polarity is not None and len(opinions) == 1 and event.event_id not in used:
        yield (THUMB if isinstance(event.feedback, Thumb) else RATING), polarity
    match event.feedback:
        case Regenerate() if True not in opinions:
            yield REGENERATE, False
        case Complaint(category="harmful"):
            yield HARMFUL, False


def _make_label(rule: Rule, event: FeedbackReceived, answer: Answer, desirable: bool) -> UnpairedLabel:
    evidence = (event.event_id,)
    return UnpairedLabel(calculate_label_id(rule, evidence, answer, desirable), rule, answer, desirable, evidence)
