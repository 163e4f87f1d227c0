"""What goes into a dataset: a pure function of weighed evidence, in one order."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from services.curator.pairs.domain.rules import EDIT, HARMFUL, RATING
from services.curator.weighing.domain.copied_text import find_pushed_texts
from services.curator.weighing.domain.curation import AnyWeighed, Curated, Weighed
from services.curator.weighing.domain.history import History, LabelEvidence, PairEvidence
from services.curator.weighing.domain.near_duplicates import find_near_duplicates
from shared.conversation import Conversation, explain_unrenderable

COPIED_WORDS = 6
"""Shorter edits are alike by chance."""
COPIES_SHARE = 0.05
COPIES_ALLOWED = 20
"""However small the dataset is."""

Item = TypeVar("Item", PairEvidence, LabelEvidence)
Conversations = Mapping[str, Conversation]
"""By prompt hash."""


@dataclass(frozen=True)
class Caps:
    per_user: int
    per_prompt: int
    per_group: float = 0.05
    """Share of the weight that a group may hold whom nobody else can vouch for."""


@dataclass(frozen=True)
class Snapshot:
    """Rows of each file, by content, and the reason of everything that was left out. Of `gate` there is nothing."""

    train: list[Weighed[PairEvidence]]
    validation: list[Weighed[PairEvidence]]
    labels: list[Weighed[LabelEvidence]]
    left_out: dict[str, str]
    """By id of the pair or label."""

    @property
    def pairs(self) -> list[Weighed[PairEvidence]]:
        return [*self.train, *self.validation]

    @property
    def everything(self) -> list[AnyWeighed]:
        return [*self.train, *self.validation, *self.labels]

    @property
    def edits(self) -> list[Weighed[PairEvidence]]:
        """Select the training pairs whose chosen side a user wrote: it is worth imitating."""
        return [pair for pair in self.train if pair.item.rule == EDIT.name]

    @property
    def praised(self) -> list[Weighed[LabelEvidence]]:
        """Select the highly rated answers among the labels."""
        return [label for label in self.labels if label.item.rule == RATING.name and label.item.desirable]

    @property
    def harmful(self) -> list[Weighed[LabelEvidence]]:
        """Select the safety set: answers that somebody found harmful."""
        return [label for label in self.labels if label.item.rule == HARMFUL.name]


def explain_unusable(conversations: Conversations, near_gate: Collection[str]) -> dict[str, str]:
    """Return the prompts that nothing may be trained on, each with the reason to count.

    - its conversation is none that chat templates render
    - it is too near to a gate prompt
    """
    reasons = {prompt_hash: explain_unrenderable(seen.messages) for prompt_hash, seen in conversations.items()}
    unusable = {prompt_hash: f"unrenderable_{reason}" for prompt_hash, reason in reasons.items() if reason}
    return unusable | dict.fromkeys(near_gate, "near_gate")


def derive_snapshot(curated: Curated, history: History, unusable: Mapping[str, str], caps: Caps) -> Snapshot:
    """Select what goes into the dataset.

    - nothing that weighing left out
    - nothing of an `unusable` prompt
    - of pairs that say the same of the same texts, one: what each adds is in its epsilon
    - of one prompt, then of one user, no more than the caps allow, but for imports, which have no cap per user;
      contents are hashed, so the first are a fair draw
    - of near-identical edits of several users, no more than a small share of all pairs
    - of a closed group, no more than a small share of the weight
    """
    left_out: dict[str, str] = {}
    pairs = _join_repeated(_keep(curated.pairs, unusable, left_out), left_out)
    pairs = _cap(pairs, history, caps, left_out)
    pairs = _cap_copies(pairs, history, left_out)
    groups = curated.reliability.closed_groups
    pairs = _cap_groups(pairs, groups, history, caps, left_out)
    training = [label for label in curated.labels if label.item.split == "train"]
    labels = _cap(_keep(training, unusable, left_out), history, caps, left_out)
    return Snapshot(
        train=[pair for pair in pairs if pair.item.split == "train"],
        validation=[pair for pair in pairs if pair.item.split == "validation"],
        labels=_cap_groups(labels, groups, history, caps, left_out),
        left_out=dict(sorted(left_out.items())),
    )


def _keep(
    weighed: Iterable[Weighed[Item]], unusable: Mapping[str, str], left_out: dict[str, str]
) -> list[Weighed[Item]]:
    kept = []
    for one in weighed:
        reason = unusable.get(one.item.prompt_hash, one.reason)
        if reason is None:
            kept.append(one)
        else:
            left_out[one.item.item_id] = reason
    return kept


def _join_repeated(pairs: Sequence[Weighed[PairEvidence]], left_out: dict[str, str]) -> list[Weighed[PairEvidence]]:
    """Keep one pair of those that prefer the same text to the same: an edit, if one is among them, else the first.

    Several users who agree are one row that is seldom wrong, not as many rows: what many judged would count for more
    than what is known better. Its epsilon is the surest one's.
    """
    said: dict[tuple[str, str, str], list[Weighed[PairEvidence]]] = defaultdict(list)
    for pair in pairs:
        said[pair.item.prompt_hash, pair.item.chosen.strip(), pair.item.rejected.strip()].append(pair)
    kept: dict[str, float] = {}
    for same in said.values():
        first = min(same, key=lambda pair: pair.item.rule != EDIT.name)
        kept[first.item.item_id] = min(pair.epsilon for pair in same)
    left_out.update({pair.item.item_id: "repeated" for pair in pairs if pair.item.item_id not in kept})
    return [replace(pair, epsilon=kept[pair.item.item_id]) for pair in pairs if pair.item.item_id in kept]


def _cap(
    weighed: Sequence[Weighed[Item]], history: History, caps: Caps, left_out: dict[str, str]
) -> list[Weighed[Item]]:
    of_prompt: Counter[str] = Counter()
    of_user: Counter[str] = Counter()
    kept = []
    for one in weighed:
        users = history.list_holders(one.item.evidence)
        if of_prompt[one.item.prompt_hash] >= caps.per_prompt:
            left_out[one.item.item_id] = "prompt_cap"
        elif any(of_user[user] >= caps.per_user for user in users):
            left_out[one.item.item_id] = "user_cap"
        else:
            of_prompt[one.item.prompt_hash] += 1
            of_user.update(users)
            kept.append(one)
    return kept


def _cap_copies(
    pairs: list[Weighed[PairEvidence]], history: History, left_out: dict[str, str]
) -> list[Weighed[PairEvidence]]:
    """Leave out what one text that several people paste holds beyond its share: it may be honest, or it may not."""
    edits = [pair for pair in pairs if pair.item.rule == EDIT.name]
    texts = list(_find_copies(edits, history))
    others = len(pairs) - len({edit.item.item_id for text in texts for edit in text})
    most = max(COPIES_ALLOWED, int(COPIES_SHARE / (1 - COPIES_SHARE) * others))
    beyond = {edit.item.item_id for text in texts for edit in text[most:]}
    left_out.update(dict.fromkeys(beyond, "copy_cap"))
    return [pair for pair in pairs if pair.item.item_id not in beyond]


def _find_copies(edits: Sequence[Weighed[PairEvidence]], history: History) -> Iterator[list[Weighed[PairEvidence]]]:
    """Find what several paste: near-identical edits, and texts with other words put in; in the order of `edits`."""
    for group in find_near_duplicates([edit.item.chosen for edit in edits], COPIED_WORDS):
        if len({holder for at in group for holder in history.list_holders(edits[at].item.evidence)}) > 1:
            yield [edits[at] for at in sorted(group)]
    for text in map(set, find_pushed_texts(history)):
        yield [edit for edit in edits if not text.isdisjoint(edit.item.evidence)]


def _cap_groups(
    weighed: list[Weighed[Item]],
    groups: Sequence[Collection[str]],
    history: History,
    caps: Caps,
    left_out: dict[str, str],
) -> list[Weighed[Item]]:
    """Leave out what a closed group holds beyond its share of the weight: it may be honest, or it may not."""
    group_of = {user: number for number, group in enumerate(groups) for user in group}
    places = [
        min((group_of[user] for user in history.list_holders(one.item.evidence) if user in group_of), default=None)
        for one in weighed
    ]
    known = sum(1 - 2 * one.epsilon for one, place in zip(weighed, places, strict=True) if place is None)
    most = known * caps.per_group / (1 - caps.per_group) if caps.per_group < 1 else math.inf
    held: dict[int, float] = defaultdict(float)
    kept = []
    for one, place in zip(weighed, places, strict=True):
        weight = 1 - 2 * one.epsilon
        if place is not None and held[place] + weight > most:
            left_out[one.item.item_id] = "group_cap"
            continue
        if place is not None:
            held[place] += weight
        kept.append(one)
    return kept


@dataclass(frozen=True)
class Preview:
    """Ids of what a dataset frozen now would hold; `sequence` is that of the last pair or label looked at."""

    pairs: frozenset[str]
    labels: frozenset[str]
    sequence: int


def derive_preview(snapshot: Snapshot, sequence: int) -> Preview:
    return Preview(
        frozenset(pair.item.item_id for pair in snapshot.pairs),
        frozenset(label.item.item_id for label in snapshot.labels),
        sequence,
    )
