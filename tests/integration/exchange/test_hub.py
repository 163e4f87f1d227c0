"""`heliotrope dataset export ... hf://` by the Hub's own client, against a server that plays what it calls.

The client runs in a process of its own, for it reads its settings once. It uploads large files by LFS here, which the
Hub takes from clients without Xet; Xet's own servers are played by nobody.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.exchange.events import Import
from services.curator.datasets.adapters import DatasetContent, write_dataset
from shared.user_hashes import UserHashes
from tests.builders import NOON
from tests.integration.exchange.hub_server import TOKEN, Hub, serve_hub
from tests.unit.curator.small_store import SmallStore
from tests.unit.exchange.reading_files import read_files

ROOT = Path(__file__).parents[3]
CARD = "---\nconfigs: []\n---\n# Card\n"
DEADLINE_SECONDS = 180.0


def make_pair(number: int) -> dict[str, Any]:
    said = {"chosen": "On its way since Monday", "rejected": "No idea at all"}
    return {
        "prompt": [{"role": "user", "content": f"{number}: where is it?"}],
        **{side: [{"role": "assistant", "content": f"{text} {number}"}] for side, text in said.items()},
        "epsilon": 0.05,
        "rule": "choice",
        "rule_version": 1,
        "pair_id": f"{number:064x}",
    }


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as served:
        yield served


@pytest.fixture
def frozen(tmp_path: Path) -> str:
    rows: Any = {"train": [make_pair(1), make_pair(2)], "validation": [make_pair(3)], "labels": [], "sft": []}
    content = DatasetContent("ab" * 32, rows | {"safety": []}, {"counts": {}}, CARD, [])
    return write_dataset(tmp_path / "datasets", content).name


def push(home: Path, dataset: str, url: str, token: str = TOKEN) -> "subprocess.CompletedProcess[str]":
    own = {
        "HELIOTROPE_HOME": str(home),
        "HELIOTROPE_DATASETS_DIR": str(home / "datasets"),
        "HF_ENDPOINT": url,
        "HF_TOKEN": token,
        "HF_HOME": str(home / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(ROOT),
    }
    command = [
        sys.executable,
        "-m",
        "cli.main",
        "dataset",
        "export",
        dataset,
        "hf://lamps/pairs",
        "--to",
        "huggingface",
    ]
    return subprocess.run(
        command, env=os.environ | own, cwd=ROOT, text=True, capture_output=True, timeout=DEADLINE_SECONDS, check=False
    )


def import_again(content: dict[str, bytes], folder: Path) -> list[str]:
    folder.mkdir()
    names = [name for name in content if name in ("train.parquet", "validation.parquet")]
    for name in names:
        (folder / name).write_bytes(content[name])
    found, tally = read_files("huggingface", [folder / name for name in names])
    assert not tally.refused
    store = SmallStore()
    for event in Import("again", "huggingface", NOON, UserHashes("a secret of sixteen")).derive_events(found):
        store.store(event)
    rows, _ = store.freeze()
    return sorted(json.dumps(row["chosen"]) for row in (*rows["train"], *rows["validation"]))


def test_a_dataset_is_pushed_in_one_commit_as_a_private_one_and_what_is_there_makes_the_same_pairs(
    hub: Hub, frozen: str, tmp_path: Path
) -> None:
    done = push(tmp_path, frozen, hub.url)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/datasets/lamps/pairs/commit/" in done.stdout
    assert hub.visibilities == {"lamps/pairs": "private"}
    assert [commit["summary"] for commit in hub.commits] == ["Export from Heliotrope"]
    files = hub.repositories["lamps/pairs"]
    written = {path.name: path.read_bytes() for path in (tmp_path / "datasets" / frozen).glob("*.parquet")}
    assert files == {**written, "README.md": CARD.encode()}
    assert set(hub.uploaded.values()) == set(written.values()), "tables go up apart, as large files"
    assert import_again(files, tmp_path / "again") == sorted(json.dumps(make_pair(n)["chosen"]) for n in (1, 2, 3))


def test_a_second_push_goes_into_the_dataset_that_is_there(hub: Hub, frozen: str, tmp_path: Path) -> None:
    hub.repositories["lamps/pairs"] = {"mine.txt": b"x"}
    done = push(tmp_path, frozen, hub.url)
    assert done.returncode == 0, done.stderr
    assert hub.repositories["lamps/pairs"]["mine.txt"] == b"x"
    assert "lamps/pairs" not in hub.visibilities, "who may see it is left as its owner set it"


def test_a_hub_that_refuses_or_is_away_is_said_in_a_line(hub: Hub, frozen: str, tmp_path: Path) -> None:
    refused = push(tmp_path, frozen, hub.url, token="hf_of_nobody")
    hub.is_closed = True
    closed = push(tmp_path, frozen, hub.url)
    away = push(tmp_path, frozen, "http://127.0.0.1:9")
    for done, said in ((refused, "401"), (closed, "403"), (away, "lamps/pairs")):
        assert done.returncode == 1
        assert "the hub does not take lamps/pairs" in done.stderr + done.stdout
        assert said in done.stderr + done.stdout
        assert "Traceback" not in done.stderr
    assert not hub.commits
