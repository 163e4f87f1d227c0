"""A snapshot as rows of its files, and its hash."""

import hashlib
import json
from typing import Any, Literal

from services.curator.datasets.domain.snapshot import Conversations, Snapshot
from services.curator.weighing.domain.curation import AnyWeighed, Weighed
from services.curator.weighing.domain.history import LabelEvidence, PairEvidence
from shared.conversation import Conversation

FORMAT = 2

FileName = Literal["train", "validation", "labels", "sft", "safety"]
Row = dict[str, Any]


def derive_rows(snapshot: Snapshot, conversations: Conversations) -> dict[FileName, list[Row]]:
    """Derive the rows of each file: canonical conversations in TRL's shape; `tools`, if any, as JSON text."""
    prompts = {prompt_hash: _describe(seen) for prompt_hash, seen in conversations.items()}
    return {
        "train": [_pair_row(pair, prompts) for pair in snapshot.train],
        "validation": [_pair_row(pair, prompts) for pair in snapshot.validation],
        "labels": [_label_row(label, prompts) for label in snapshot.labels],
        "sft": [
            *(_sft_row(edit, edit.item.chosen, prompts, pair_id=edit.item.pair_id) for edit in snapshot.edits),
            *(_sft_row(one, one.item.completion, prompts, label_id=one.item.label_id) for one in snapshot.praised),
        ],
        "safety": [_label_row(label, prompts) for label in snapshot.harmful],
    }


def _pair_row(pair: Weighed[PairEvidence], prompts: dict[str, Row]) -> Row:
    return {
        **prompts[pair.item.prompt_hash],
        "chosen": _say(pair.item.chosen),
        "rejected": _say(pair.item.rejected),
        "epsilon": pair.epsilon,
        "rule": pair.item.rule,
        "rule_version": pair.item.rule_version,
        "pair_id": pair.item.pair_id,
    }


def _label_row(label: Weighed[LabelEvidence], prompts: dict[str, Row]) -> Row:
    return {
        **prompts[label.item.prompt_hash],
        "completion": _say(label.item.completion),
        "label": label.item.desirable,
        "epsilon": label.epsilon,
        "rule": label.item.rule,
        "rule_version": label.item.rule_version,
        "label_id": label.item.label_id,
    }


def _sft_row(
    one: AnyWeighed,
    completion: str,
    prompts: dict[str, Row],
    *,
    pair_id: str | None = None,
    label_id: str | None = None,
) -> Row:
    return {
        **prompts[one.item.prompt_hash],
        "completion": _say(completion),
        "epsilon": one.epsilon,
        "rule": one.item.rule,
        "rule_version": one.item.rule_version,
        "pair_id": pair_id,
        "label_id": label_id,
    }


def _say(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


def _describe(seen: Conversation) -> Row:
    """Return the columns of a prompt. Without tools there is no such column, as before there were any."""
    tools = {"tools": json.dumps(seen.tools, sort_keys=True, ensure_ascii=False)} if seen.tools else {}
    return {"prompt": seen.messages} | tools


def calculate_dataset_sha256(rows: dict[FileName, list[Row]]) -> str:
    """Calculate the SHA-256 (hex) of the canonical rows of all files."""
    digest = hashlib.sha256(f"heliotrope-dataset-v{FORMAT}\n".encode())
    for name in sorted(rows):
        digest.update(f"{name} {len(rows[name])}\n".encode())
        for row in rows[name]:
            digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
