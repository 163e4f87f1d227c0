"""The curator of an older commit, over the same stories, in a process of its own."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import msgspec

from bench.data.measures import Outcome
from bench.data.story import Story

COMMIT = "b6aa979"
"""Of the day before the rules for content, copies and colluders were written."""
ROOT = Path(__file__).resolve().parents[2]
LONGEST_SECONDS = 3_600


@contextmanager
def check_out(commit: str = COMMIT) -> Iterator[Path]:
    """Unpack the services of a commit into a temporary folder."""
    archive = subprocess.run(
        ["git", "archive", commit, "services", "shared"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        yield Path(folder)


def curate_by_peer(stories: Iterable[Story], checkout: Path) -> list[Outcome]:
    """Curate stories by another checkout's code."""
    told, results = checkout / "stories.jsonl", checkout / "results.jsonl"
    with told.open("w") as out:
        for story in stories:
            out.write(json.dumps(_describe(story)) + "\n")
    command = [sys.executable, str(Path(__file__).with_name("peer.py")), str(told), str(results)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    subprocess.run(command, env=environment, check=True, timeout=LONGEST_SECONDS)
    with results.open() as lines:
        return [_read(json.loads(line)) for line in lines]


def _describe(story: Story) -> dict[str, Any]:
    return {
        "solicited": sorted(str(event_id) for event_id in story.solicited),
        "groups": {
            prompt_hash: {
                "answers": [[str(key), one.text, one.user] for key, one in group.answers.items()],
                "events": msgspec.to_builtins(group.events),
            }
            for prompt_hash, group in story.groups.items()
        },
    }


def _read(result: dict[str, Any]) -> Outcome:
    rows = [
        ((prompt_hash, chosen, rejected), epsilon, tuple(UUID(key) for key in evidence))
        for prompt_hash, chosen, rejected, epsilon, evidence in result["rows"]
    ]
    return Outcome(rows, frozenset(map(UUID, result["waiting"])), frozenset(map(UUID, result["capped"])))
