"""A snapshot as rows of its files, and its hash."""

import hashlib
import json
from typing import Any, Literal

from services.curator.domain.snapshot import SNAPSHOT_VERSION, LabelEvidence, PairEvidence, Snapshot
from shared.events import Message

FileName = Literal["train", "validation", "labels", "sft"]
Row = dict[str, Any]


def derive_rows(snapshot: Snapshot) -> dict[FileName, list[Row]]:
    """The rows of each file: conversations in TRL's shape, with every prompt message reduced to role and content."""
    return {
        "train": [_pair_row(pair) for pair in snapshot.train],
        "validation": [_pair_row(pair) for pair in snapshot.validation],
        "labels": [_label_row(label) for label in snapshot.labels],
        "sft": [_sft_row(pair) for pair in snapshot.sft],
    }


def _pair_row(pair: PairEvidence) -> Row:
    return {
        "prompt": _reduce(pair.messages),
        "chosen": _say(pair.chosen),
        "rejected": _say(pair.rejected),
        "epsilon": pair.epsilon,
        "rule": pair.rule,
        "rule_version": pair.rule_version,
        "pair_id": pair.pair_id,
    }


def _label_row(label: LabelEvidence) -> Row:
    return {
        "prompt": _reduce(label.messages),
        "completion": _say(label.completion),
        "label": label.desirable,
        "epsilon": label.epsilon,
        "rule": label.rule,
        "rule_version": label.rule_version,
        "label_id": label.label_id,
    }


def _sft_row(pair: PairEvidence) -> Row:
    return {"prompt": _reduce(pair.messages), "completion": _say(pair.chosen), "pair_id": pair.pair_id}


def _say(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


def _reduce(messages: list[Message]) -> list[Row]:
    return [{"role": str(message.get("role", "")), "content": _flatten(message.get("content"))} for message in messages]


def _flatten(content: object) -> str:
    """Plain text as it is; structured content as JSON, so that nothing the model saw is lost."""
    if content is None:
        return ""
    return content if isinstance(content, str) else json.dumps(content, sort_keys=True, ensure_ascii=False)


def calculate_dataset_sha256(rows: dict[FileName, list[Row]]) -> str:
    """SHA-256 (hex) over the canonical rows of all files."""
    digest = hashlib.sha256(f"heliotrope-dataset-v{SNAPSHOT_VERSION}\n".encode())
    for name in sorted(rows):
        digest.update(f"{name} {len(rows[name])}\n".encode())
        for row in rows[name]:
            digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
