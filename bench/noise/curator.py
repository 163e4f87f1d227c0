"""The curator's own functions over a made-up history: from prompt groups to the rows of a dataset."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from bench.noise.world import Group
from services.curator.datasets.domain.snapshot import Caps, Snapshot, derive_snapshot
from services.curator.pairs.domain.pairing import derive_group
from services.curator.weighing.domain.curation import Curated, curate
from services.curator.weighing.domain.history import (
    CONSIDERED_REASONS,
    Decisions,
    FeedbackRecord,
    History,
    LabelEvidence,
    PairEvidence,
    describe_feedback,
    describe_label,
    describe_pair,
)
from services.curator.weighing.domain.quarantine import Quarantine, derive_quarantine
from shared.events import FeedbackReceived

CAPS = Caps(per_user=200, per_prompt=20)
NOBODY = Decisions()


@dataclass(frozen=True)
class Run:
    events: list[FeedbackReceived]
    quarantine: Quarantine
    curated: Curated
    snapshot: Snapshot

    @property
    def rows(self) -> list[tuple[str, str, float]]:
        """(chosen, rejected, weight)."""
        return [(one.item.chosen, one.item.rejected, 1 - 2 * one.epsilon) for one in self.snapshot.train]

    @property
    def directions(self) -> dict[str, bool]:
        """By prompt: whether the dataset, on balance, prefers the answer that comes first in the alphabet."""
        balance: dict[str, float] = {}
        for one in self.snapshot.train:
            sign = 1 if one.item.chosen < one.item.rejected else -1
            balance[one.item.prompt_hash] = balance.get(one.item.prompt_hash, 0.0) + sign * (1 - 2 * one.epsilon)
        return {prompt_hash: total > 0 for prompt_hash, total in balance.items()}


def run_curator(groups: Mapping[str, Group], solicited: Collection[UUID] = frozenset()) -> Run:
    """Return what a snapshot would freeze, all prompts being of the training split.

    `solicited` are the events about what we asked to have judged.
    """
    events = [event for group in groups.values() for event in group.events]
    everything = _read(groups, Quarantine(), solicited)
    quarantine = derive_quarantine(everything, NOBODY)
    standing = _read(groups, quarantine, solicited) if quarantine.waiting else everything
    curated = curate(standing, NOBODY)
    return Run(events, quarantine, curated, derive_snapshot(curated, standing, {}, CAPS))


def _read(groups: Mapping[str, Group], quarantine: Quarantine, solicited: Collection[UUID]) -> History:
    pairs: list[PairEvidence] = []
    labels: list[LabelEvidence] = []
    said: dict[UUID, FeedbackRecord] = {}
    gone = quarantine.set_aside
    for prompt_hash, group in groups.items():
        derived = derive_group(group.answers, group.events, gone)
        considered = [pair for pair in derived.pairs if pair.reason in CONSIDERED_REASONS]
        pairs += [describe_pair(prompt_hash, "train", pair) for pair in considered]
        labels += [describe_label(prompt_hash, "train", label) for label in derived.labels]
        said |= {
            event.event_id: describe_feedback(event, solicited=event.event_id in solicited)
            for event in group.events
            if event.event_id not in gone
        }
    return History(pairs, labels, said, {})
