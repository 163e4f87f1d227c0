"""From evidence to what is trained on and what is held out, by the curator's own rules."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cli.trying.evidence import Evidence
from cli.trying.splitting import Splits, choose_prompts, choose_reward_cells, split_prompts
from services.curator.cells.domain.placement import name_cells
from services.curator.cells.ports import Embedder
from services.curator.config.settings import CuratorSettings
from services.curator.datasets.adapters import DatasetContent, write_dataset
from services.curator.datasets.domain.data_card import derive_card
from services.curator.datasets.domain.manifest import SnapshotContext, Splitting, derive_manifest
from services.curator.datasets.domain.rows import calculate_dataset_sha256, derive_rows
from services.curator.datasets.domain.snapshot import Caps, Snapshot, derive_snapshot, explain_unusable
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
from services.trainer.domain.planning.suggestion import Holdings
from shared.conversation import Conversation, explain_unrenderable
from shared.events import FeedbackReceived
from shared.settings import load_settings

NOBODY = Decisions()
Groups = Mapping[str, list[FeedbackReceived]]


@dataclass(frozen=True)
class HeldOut:
    """What nothing was trained on: prompts that ask something, and the pairs and labels that users made of some."""

    prompts: Sequence[str]
    pairs: Sequence[PairEvidence]
    labels: Sequence[LabelEvidence]


@dataclass(frozen=True)
class Curation:
    """All that is known of the files once the curator's rules have gone over them."""

    conversations: Mapping[str, Conversation]
    splits: Splits
    held_out: HeldOut
    curated: Curated
    snapshot: Snapshot
    quarantine: Quarantine

    @property
    def pairs(self) -> int:
        """Count the pairs that stand, held-out ones included."""
        return len(self.snapshot.pairs) + len(self.held_out.pairs)

    @property
    def refused(self) -> dict[str, int]:
        """Count by reason what was left out of training."""
        return dict(sorted(Counter(self.snapshot.left_out.values()).items()))


def curate_evidence(evidence: Evidence, embedder: Embedder) -> Curation:
    """Split the prompts, and weigh what stands outside of those that are held out."""
    groups = evidence.list_groups()
    usable = {key for key, one in evidence.conversations.items() if not explain_unrenderable(one.messages)}
    told = [key for key in groups if key in usable]
    chosen = choose_prompts(told, sorted(usable - set(told)))
    conversations = {key: evidence.conversations[key] for key in chosen}
    splits = split_prompts(conversations, embedder)
    training = {key: events for key, events in groups.items() if splits.splits.get(key, "gate") != "gate"}
    everything = read_history(evidence, training, splits, Quarantine())
    quarantine = derive_quarantine(everything, NOBODY)
    trusted = read_history(evidence, training, splits, quarantine) if quarantine.waiting else everything
    curated = curate(trusted, NOBODY)
    unusable = explain_unusable(conversations, splits.near.prompts)
    settings = load_settings(CuratorSettings)
    caps = Caps(settings.pairs_per_user, settings.pairs_per_prompt)
    snapshot = derive_snapshot(curated, trusted, unusable, caps)
    return Curation(conversations, splits, hold_out(evidence, groups, splits), curated, snapshot, quarantine)


def read_history(evidence: Evidence, groups: Groups, splits: Splits, quarantine: Quarantine) -> History:
    """Read the history of some prompts, without what is in quarantine."""
    pairs: list[PairEvidence] = []
    labels: list[LabelEvidence] = []
    said: dict[Any, FeedbackRecord] = {}
    gone = frozenset(quarantine.set_aside)
    for key, events in groups.items():
        derived, split = evidence.derive_group(events, gone), splits.splits[key]
        pairs += [describe_pair(key, split, one) for one in derived.pairs if one.reason in CONSIDERED_REASONS]
        labels += [describe_label(key, split, one) for one in derived.labels]
        kept = (event for event in events if event.event_id not in gone)
        said |= {event.event_id: describe_feedback(event, solicited=False) for event in kept}
    return History(pairs, labels, said, {})


def hold_out(evidence: Evidence, groups: Groups, splits: Splits) -> HeldOut:
    """Hold out the gate's prompts, those with feedback first, and what users said of them that stands."""
    gate = splits.select("gate")
    told = [key for key in gate if key in groups]
    pairs, labels = [], []
    for key in told:
        derived = evidence.derive_group(groups[key])
        pairs += [describe_pair(key, "gate", one) for one in derived.pairs if one.state == "active"]
        labels += [describe_label(key, "gate", one) for one in derived.labels]
    return HeldOut([*told, *(key for key in gate if key not in groups)], pairs, labels)


def divide(curation: Curation) -> tuple[Snapshot, Snapshot]:
    """Divide what is trained on between the policy and a reward model: their pairs share no region of prompts."""
    cells, snapshot = curation.splits.cells, curation.snapshot
    rows = Counter(cells[pair.item.prompt_hash] for pair in snapshot.train)
    taken = choose_reward_cells(rows)
    policy = [pair for pair in snapshot.train if cells[pair.item.prompt_hash] not in taken]
    reward = [pair for pair in snapshot.train if cells[pair.item.prompt_hash] in taken]
    return replace(snapshot, train=policy), replace(snapshot, train=reward, validation=[], labels=[])


def count_rows(snapshot: Snapshot) -> Holdings:
    """Count what the written dataset will hold."""
    liked = sum(label.item.desirable for label in snapshot.labels)
    return Holdings(
        pairs=len(snapshot.train),
        validation_pairs=len(snapshot.validation),
        answers=len(snapshot.edits) + len(snapshot.praised),
        liked=liked,
        disliked=len(snapshot.labels) - liked,
    )


def write_snapshot(folder: Path, snapshot: Snapshot, curation: Curation, embedder: str) -> Path:
    """Write a frozen dataset, as the trainer reads it; returns its folder."""
    rows = derive_rows(snapshot, curation.conversations)
    sha256 = calculate_dataset_sha256(rows)
    splitting = Splitting(name_cells(embedder), {}, curation.splits.near)
    context = SnapshotContext(None, "try", {}, splitting, curation.quarantine)
    manifest = derive_manifest(snapshot, curation.curated, context, sha256)
    written = write_dataset(folder, DatasetContent(sha256, rows, manifest, derive_card(manifest, rows), []))
    written.chmod(0o700)
    return written
