"""Runs inside a checkout of another commit: reads stories, writes what that commit's curator makes of them.

Its modules have other names there, so they are looked up by name. Called by `bench.data.__main__`:
`python peer.py STORIES.jsonl RESULTS.jsonl`, with that checkout as PYTHONPATH.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

CAPS = ("user_cap", "prompt_cap")
DOMAIN = "services.curator.domain"


def _find(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def read_history(story: dict[str, Any], gone: frozenset[UUID]) -> Any:
    """Derive every group's pairs and labels, as the snapshot's history."""
    evidence = importlib.import_module(f"{DOMAIN}.evidence")
    derive_group = _find(f"{DOMAIN}.pairing", "derive_group")
    solicited = {UUID(event_id) for event_id in story["solicited"]}
    pairs, labels, said = [], [], {}
    for prompt_hash, group in story["groups"].items():
        derived = derive_group(group["answers"], group["events"], gone)
        considered = [pair for pair in derived.pairs if pair.reason in evidence.CONSIDERED_REASONS]
        pairs += [evidence.describe_pair(prompt_hash, "train", pair) for pair in considered]
        labels += [evidence.describe_label(prompt_hash, "train", label) for label in derived.labels]
        for event in group["events"]:
            if event.event_id not in gone:
                said[event.event_id] = evidence.describe_event(event, solicited=event.event_id in solicited)
    return evidence.History(pairs, labels, said, {})


def read_groups(story: dict[str, Any]) -> dict[str, Any]:
    """Make answers and events of what is plain JSON."""
    msgspec = importlib.import_module("msgspec")
    answer, received = _find(f"{DOMAIN}.rules", "Answer"), _find("shared.events", "FeedbackReceived")
    return {
        prompt_hash: {
            "answers": {
                UUID(one[0]): answer(UUID(one[0]), prompt_hash, one[1], "1", one[2]) for one in group["answers"]
            },
            "events": [msgspec.convert(event, received) for event in group["events"]],
        }
        for prompt_hash, group in story["groups"].items()
    }


def run(story: dict[str, Any]) -> dict[str, Any]:
    """Curate one story: rows of (prompt hash, chosen, rejected, epsilon, evidence), and events in quarantine."""
    story["groups"] = read_groups(story)
    quarantine = importlib.import_module(f"{DOMAIN}.quarantine")
    snapshot = importlib.import_module(f"{DOMAIN}.snapshot")
    nobody = quarantine.Decisions()
    everything = read_history(story, frozenset())
    found = quarantine.derive_quarantine(everything, nobody)
    standing = read_history(story, found.set_aside) if found.waiting else everything
    curated = _find(f"{DOMAIN}.curation", "curate")(standing, nobody)
    caps = snapshot.Caps(per_user=200, per_prompt=20)
    frozen = snapshot.derive_snapshot(curated, standing, frozenset(), caps)
    rows = [
        (one.item.prompt_hash, one.item.chosen, one.item.rejected, one.epsilon, [str(key) for key in one.item.evidence])
        for one in frozen.train
    ]
    evidence = {one.item.item_id: one.item.evidence for one in curated.pairs}
    beyond = [key for key, reason in frozen.left_out.items() if reason in CAPS and key in evidence]
    return {
        "rows": rows,
        "waiting": [str(event_id) for event_id in found.waiting],
        "capped": [str(event_id) for key in beyond for event_id in evidence[key]],
    }


def main() -> None:
    stories, results = map(Path, sys.argv[1:3])
    with stories.open() as lines, results.open("w") as out:
        for line in lines:
            out.write(json.dumps(run(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
