"""A dataset's pairs as an Argilla dataset on disk: two answers to a prompt, and which is preferred."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cli.exchange.sources.argilla import OURS

SIDES = ("response-1", "response-2")
QUESTION = "preference"
GUIDELINES = (
    "Which answer is better? The suggestions are what Heliotrope's users said; correct them where they are wrong."
)


@dataclass(frozen=True)
class ArgillaExport:
    """Path within the folder -> JSON; `left_out` counts pairs that Argilla cannot show."""

    files: Mapping[str, Any]
    left_out: int


def derive_export(name: str, rows: Iterable[Mapping[str, Any]]) -> ArgillaExport:
    """Derive what `argilla.Dataset.from_disk` reads (version 2).

    What users preferred is a suggestion, for a response must be one of the server's own users'; its score is the
    probability that it is right. Which side stands first is drawn from the pair's id. Left out: conversations with
    tools, for a chat field shows roles and texts alone.
    """
    records, left_out = [], 0
    for row in rows:
        if row.get("tools") or any(set(turn) - {"role", "content"} for turn in row["prompt"]):
            left_out += 1
        else:
            records.append(_derive_record(row))
    files = {
        ".argilla/dataset.json": {"name": name, "guidelines": GUIDELINES, "allow_extra_metadata": True},
        ".argilla/settings.json": _derive_settings(),
        "records.json": records,
    }
    return ArgillaExport(files, left_out)


def _derive_record(row: Mapping[str, Any]) -> dict[str, Any]:
    sides = SIDES if hashlib.sha256(row["pair_id"].encode()).digest()[0] % 2 else SIDES[::-1]
    chosen, rejected = (row[side][-1]["content"] for side in ("chosen", "rejected"))
    return {
        "id": row["pair_id"],
        "status": "pending",
        "fields": {"prompt": row["prompt"], **dict(sorted({sides[0]: chosen, sides[1]: rejected}.items()))},
        "metadata": {name: row[name] for name in ("rule", "epsilon")},
        "suggestions": {QUESTION: {"value": sides[0], "score": 1 - row["epsilon"], "agent": OURS}},
        "responses": {},
        "vectors": {},
    }


def _derive_settings() -> dict[str, Any]:
    fields = {"prompt": "chat", SIDES[0]: "text", SIDES[1]: "text"}
    options = [{"text": name, "value": name} for name in (*SIDES, "tie")]
    return {
        "guidelines": GUIDELINES,
        "allow_extra_metadata": True,
        "fields": [
            {
                "name": name,
                "title": name,
                "type": kind,
                "required": True,
                "settings": {"type": kind, "use_markdown": False},
            }
            for name, kind in fields.items()
        ],
        "questions": [
            {
                "name": QUESTION,
                "title": "Which answer is better?",
                "type": "label_selection",
                "required": True,
                "settings": {"type": "label_selection", "options": options, "visible_options": len(options)},
            }
        ],
        "vectors": [],
        "metadata": [],
        "distribution": {"strategy": "overlap", "min_submitted": 1},
    }
