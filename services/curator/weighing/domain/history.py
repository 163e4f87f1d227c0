"""What a snapshot weighs: pairs, labels, the feedback behind them, and what people decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from services.curator.pairs.domain.rules import Answer, PreferencePair, UnpairedLabel
from shared.events import IMPORT_KEY_ID, Choice, Edit, FeedbackReceived, Rating, Thumb
from shared.feedback import effective_time, read_import_name


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """One feedback event, as far as a snapshot looks at it."""

    event_id: UUID
    user: str | None
    at: datetime
    value: float | None = None
    """A thumb as 0 or 1, a rating as 0, 1/4, ... 1; None for anything else."""
    first: UUID | None = None
    """Of a choice, the answer that was shown first."""
    text: str | None = None
    """Of an edit."""
    solicited: bool = False
    """About an answer that we asked to have judged."""
    key_id: str = ""
    """The API key that sent it."""
    source: str | None = None
    """The name of the import that brought it."""
    member: str | None = None
    """Of what a crowd says with one voice: who of them said it; `user` is the crowd's name then."""

    @property
    def holder(self) -> str:
        """Name whose cap it counts against."""
        return self.user if self.user is not None else f"anonymous:{self.key_id}"

    @property
    def imported(self) -> bool:
        """Say whether an operator brought it, with others, from a file: its time and its order say nothing."""
        return self.key_id == IMPORT_KEY_ID


@dataclass(frozen=True, slots=True)
class PairEvidence:
    """A pair as its prompt group yields it: active, contested or contradicted; `epsilon` is its rule's prior."""

    pair_id: str
    prompt_hash: str
    split: str
    chosen: str
    rejected: str
    rule: str
    rule_version: int
    epsilon: float
    evidence: tuple[UUID, ...]
    chosen_id: UUID | None
    rejected_id: UUID
    chosen_version: str | None
    rejected_version: str

    @property
    def item_id(self) -> str:
        return self.pair_id

    @property
    def versions(self) -> tuple[str, ...]:
        """Return the model versions that wrote its sides."""
        return tuple(version for version in (self.chosen_version, self.rejected_version) if version is not None)

    @property
    def content(self) -> bytes:
        """Hash what the pair says, whatever it rests on: an order that a resent event does not change."""
        return _digest("pair", self.prompt_hash, self.rule, self.chosen, self.rejected)


@dataclass(frozen=True, slots=True)
class LabelEvidence:
    """An unpaired label as its prompt group yields it; `epsilon` is its rule's prior."""

    label_id: str
    prompt_hash: str
    split: str
    completion: str
    desirable: bool
    rule: str
    rule_version: int
    epsilon: float
    evidence: tuple[UUID, ...]
    interaction_id: UUID
    version: str

    @property
    def item_id(self) -> str:
        return self.label_id

    @property
    def versions(self) -> tuple[str, ...]:
        return (self.version,)

    @property
    def content(self) -> bytes:
        return _digest("label", self.prompt_hash, self.rule, self.completion, str(self.desirable))


Evidence = PairEvidence | LabelEvidence


def _digest(*parts: str) -> bytes:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True)
class History:
    """All evidence outside the gate. Nothing may depend on the order of its parts."""

    pairs: Sequence[PairEvidence]
    labels: Sequence[LabelEvidence]
    feedback: Mapping[UUID, FeedbackRecord]
    ages: Mapping[str, int]
    """How many model versions lie between a writer and the model to be trained; a writer not in it counts as 0."""

    @property
    def items(self) -> list[Evidence]:
        return [*self.pairs, *self.labels]

    def list_users(self, evidence: Sequence[UUID]) -> list[str | None]:
        """List the users of these events, each once, in order; last None if one of them is anonymous."""
        users = {one.user for event_id in evidence if (one := self.feedback.get(event_id)) is not None}
        if len(users) == 1:
            return list(users)
        return [*sorted(user for user in users if user is not None), *([None] if None in users else [])]

    def list_holders(self, evidence: Sequence[UUID]) -> list[str]:
        """List those against whose caps these events count.

        - users; all anonymous callers of an API key count as one
        - nobody for what an operator imported on purpose
        """
        records = (self.feedback.get(event_id) for event_id in evidence)
        return sorted({one.holder for one in records if one is not None and not one.imported})


CONSIDERED_REASONS = (None, "contradicted", "near_tie")
"""Pairs with any other reason are refused for good: no weighing of evidence can bring them back."""


def describe_pair(prompt_hash: str, split: str, pair: PreferencePair) -> PairEvidence:
    draft = pair.draft
    chosen = draft.chosen if isinstance(draft.chosen, Answer) else None
    return PairEvidence(
        pair.pair_id,
        prompt_hash,
        split,
        draft.chosen.text,
        draft.rejected.text,
        draft.rule.name,
        draft.rule.version,
        draft.rule.epsilon,
        tuple(sorted(draft.evidence)),
        chosen.interaction_id if chosen else None,
        draft.rejected.interaction_id,
        chosen.model_version if chosen else None,
        draft.rejected.model_version,
    )


def describe_label(prompt_hash: str, split: str, label: UnpairedLabel) -> LabelEvidence:
    return LabelEvidence(
        label.label_id,
        prompt_hash,
        split,
        label.answer.text,
        label.desirable,
        label.rule.name,
        label.rule.version,
        label.rule.epsilon,
        tuple(sorted(label.evidence)),
        label.answer.interaction_id,
        label.answer.model_version,
    )


def describe_feedback(event: FeedbackReceived, *, solicited: bool) -> FeedbackRecord:
    at = effective_time(event)
    record = FeedbackRecord(
        event.event_id, event.user, at, solicited=solicited, key_id=event.key_id, source=read_import_name(event)
    )
    match event.feedback:
        case Thumb(value=value):
            return replace(record, value=float(value == "up"))
        case Rating(value=stars):
            return replace(record, value=(stars - 1) / 4)
        case Choice(presented_order=order):
            return replace(record, first=order[0])
        case Edit(text=text):
            return replace(record, text=text)
        case _:
            return record


@dataclass(frozen=True)
class Decisions:
    """What people decided. Of an event decides what was said of it, else what was said of its user.

    `users_*` are holders (of anonymous events: their API key's anonymous callers together), `items_*` ids of contested
    pairs and labels.
    """

    events_released: frozenset[UUID] = frozenset()
    events_rejected: frozenset[UUID] = frozenset()
    users_released: frozenset[str] = frozenset()
    users_rejected: frozenset[str] = frozenset()
    items_released: frozenset[str] = frozenset()
    items_rejected: frozenset[str] = frozenset()

    def is_released(self, one: FeedbackRecord) -> bool:
        if one.event_id in self.events_released | self.events_rejected:
            return one.event_id in self.events_released
        return one.holder in self.users_released

    def is_rejected(self, one: FeedbackRecord) -> bool:
        if one.event_id in self.events_released | self.events_rejected:
            return one.event_id in self.events_rejected
        return one.holder in self.users_rejected
