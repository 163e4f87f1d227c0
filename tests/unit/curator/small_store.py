"""The curator's state in memory: what the tables hold, kept by the same rules, without Postgres."""

import json
from dataclasses import dataclass, field
from uuid import UUID

from services.curator.datasets.domain.data_card import derive_card
from services.curator.datasets.domain.manifest import SnapshotContext, derive_manifest
from services.curator.datasets.domain.rows import FileName, Row, calculate_dataset_sha256, derive_rows
from services.curator.datasets.domain.selection_log import derive_selection_log
from services.curator.datasets.domain.snapshot import Caps, derive_snapshot
from services.curator.pairs.domain.pairing import derive_group
from services.curator.pairs.domain.rules import Answer
from services.curator.weighing.domain.curation import curate
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
from services.curator.weighing.domain.quarantine import derive_quarantine
from shared.conversation import Conversation, calculate_prompt_hash, derive_conversation
from shared.events import FeedbackReceived, InteractionRecorded
from shared.feedback import attribute, calculate_content_hash, list_interactions
from tests.builders import make_splitting

CAPS = Caps(per_user=4, per_prompt=5)
"""So low that they bite."""


@dataclass
class SmallStore:
    interactions: dict[UUID, InteractionRecorded] = field(default_factory=dict)
    feedback: dict[UUID, FeedbackReceived] = field(default_factory=dict)

    def store(self, event: InteractionRecorded | FeedbackReceived) -> None:
        """Of two bodies under one id, the one with the smaller content hash stands."""
        if isinstance(event, InteractionRecorded):
            standing = self.interactions.get(event.interaction_id, event)
            self.interactions[event.interaction_id] = min(standing, event, key=calculate_content_hash)
        else:
            heard = self.feedback.get(event.event_id, event)
            self.feedback[event.event_id] = min(heard, event, key=calculate_content_hash)

    def read(self) -> tuple[History, dict[str, Conversation]]:
        answers = {
            key: Answer(key, calculate_prompt_hash(one.messages), one.answer, one.model_version, one.user, one.error)
            for key, one in self.interactions.items()
        }
        groups: dict[str, list[FeedbackReceived]] = {}
        for event in self.feedback.values():
            if all(key in answers for key in list_interactions(event)):
                about = answers[event.interaction_id]
                groups.setdefault(about.prompt_hash, []).append(attribute(event, event.event_id, about.user))
        pairs: list[PairEvidence] = []
        labels: list[LabelEvidence] = []
        said: dict[UUID, FeedbackRecord] = {}
        for prompt_hash, events in groups.items():
            derived = derive_group(answers, events)
            considered = [pair for pair in derived.pairs if pair.reason in CONSIDERED_REASONS]
            pairs += [describe_pair(prompt_hash, "train", pair) for pair in considered]
            labels += [describe_label(prompt_hash, "train", label) for label in derived.labels]
            said |= {event.event_id: self._describe(event) for event in events}
        rested_on = {event_id for pair in pairs for event_id in pair.evidence}
        rested_on |= {event_id for label in labels for event_id in label.evidence}
        asked = {answers[key].prompt_hash: derive_conversation(one) for key, one in self.interactions.items()}
        return History(pairs, labels, {key: one for key, one in said.items() if key in rested_on}, {}), asked

    def _describe(self, event: FeedbackReceived) -> FeedbackRecord:
        asked = all(self.interactions[key].solicited for key in list_interactions(event))
        return describe_feedback(event, solicited=asked)

    def freeze(self) -> tuple[dict[FileName, list[Row]], str]:
        """(rows of the files, everything else that the folder would hold, as text)."""
        history, conversations = self.read()
        quarantine = derive_quarantine(history, Decisions())
        curated = curate(history, Decisions())
        snapshot = derive_snapshot(curated, history, {}, CAPS)
        rows = derive_rows(snapshot, conversations)
        circumstances = SnapshotContext(None, "1", {}, make_splitting(), quarantine)
        manifest = derive_manifest(snapshot, curated, circumstances, calculate_dataset_sha256(rows))
        ledger = derive_selection_log(curated, snapshot)
        return rows, json.dumps([manifest, ledger]) + derive_card(manifest, rows)
