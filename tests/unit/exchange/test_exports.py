"""What is exported and imported again makes the same pairs."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from cli.exchange.events import Import
from cli.exchange.exports.argilla import derive_export
from cli.exchange.exports.dvc import DvcRepository, derive_training_stage
from cli.exchange.exports.writing import push_to_hub, write_files
from cli.exchange.sources.argilla import OURS
from cli.main import app
from local.errors import StackFailed
from services.curator.datasets.adapters import DatasetContent, write_dataset
from shared.settings import Settings, load_settings
from shared.user_hashes import UserHashes
from tests.builders import NOON
from tests.unit.curator.small_store import SmallStore
from tests.unit.exchange.reading_files import read_files

TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
ASKED = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Where is\nmy «lamp»?"}]
CALLED = [
    {"role": "user", "content": "And the desk?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "in the shop", "tool_call_id": "c1"},
]


def make_row(number: int, prompt: list[Any], **more: Any) -> dict[str, Any]:
    sides = {
        side: [{"role": "assistant", "content": f"{text} {number}"}]
        for side, text in (("chosen", "On its way since Monday"), ("rejected", "No idea at all"))
    }
    weighing = {"epsilon": 0.05, "rule": "choice", "rule_version": 1, "pair_id": f"{number:064x}"}
    return {"prompt": prompt, **sides, **weighing, **more}


ROWS = [make_row(number, [*ASKED[:1], {"role": "user", "content": f"{number}: where?"}]) for number in range(8)]
ROWS += [make_row(8, ASKED), make_row(9, CALLED, tools=json.dumps(TOOLS))]
LABEL = {
    "prompt": ASKED,
    "completion": [{"role": "assistant", "content": "Soon."}],
    "label": True,
    "label_id": "f" * 64,
}
LABEL |= {"epsilon": 0.15, "rule": "thumb", "rule_version": 1}


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A dataset of this home; its hash."""
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HELIOTROPE_DATASETS_DIR", str(tmp_path / "home" / "datasets"))
    rows: Any = {"train": ROWS[:-3], "validation": ROWS[-3:], "labels": [LABEL], "sft": [], "safety": []}
    folder = load_settings(Settings).datasets
    content = DatasetContent("ab" * 32, rows, {"counts": {}}, "---\nconfigs: []\n---\n# Card\n", [])
    return write_dataset(folder, content).name


def export(dataset: str, address: Path | str, to: str) -> str:
    done = CliRunner().invoke(app, ["dataset", "export", dataset, str(address), "--to", to])
    assert done.exit_code == 0, done.output
    return done.output


def list_pairs(store: SmallStore) -> list[str]:
    rows, _ = store.freeze()
    fields = ("prompt", "tools", "chosen", "rejected")
    wanted = [{name: row[name] for name in fields if name in row} for row in (*rows["train"], *rows["validation"])]
    return sorted(json.dumps(row, sort_keys=True) for row in wanted)


def import_again(source: str, *files: Path) -> tuple[SmallStore, dict[str, int]]:
    found, tally = read_files(source, files)
    store = SmallStore()
    for event in Import("again", source, NOON, UserHashes("a secret of sixteen")).derive_events(found):
        store.store(event)
    return store, dict(tally.refused)


def expect(rows: list[dict[str, Any]]) -> list[str]:
    fields = ("prompt", "tools", "chosen", "rejected")
    with_tools = [
        row | ({"tools": json.dumps(json.loads(row["tools"]), sort_keys=True)} if "tools" in row else {})
        for row in rows
    ]
    return sorted(json.dumps({name: row[name] for name in fields if name in row}, sort_keys=True) for row in with_tools)


def test_what_hugging_face_is_given_makes_the_same_pairs_again(frozen: str, tmp_path: Path):
    export(frozen[:8], tmp_path / "hub", "huggingface")
    assert (tmp_path / "hub" / "README.md").read_text().startswith("---")
    store, refused = import_again(
        "huggingface", *(tmp_path / "hub" / f"{name}.parquet" for name in ("train", "validation"))
    )
    assert refused == {}
    assert list_pairs(store) == expect(ROWS)
    labelled, _ = read_files("huggingface", [tmp_path / "hub" / "labels.parquet"])
    assert [one.text for one in labelled.answers] == ["Soon."]


def test_what_argilla_is_given_makes_the_same_pairs_again_but_for_tools(frozen: str, tmp_path: Path):
    said = export(frozen, tmp_path / "argilla", "argilla")
    assert "1 pairs with tools were left out" in said
    store, refused = import_again("argilla", tmp_path / "argilla" / "records.json")
    assert refused == {}
    assert list_pairs(store) == expect(ROWS[:-1])
    found, _ = read_files("argilla", [tmp_path / "argilla" / "records.json"])
    assert {one.user for one in found.feedback} == {OURS}


def test_which_side_stands_first_follows_from_the_pair_and_is_not_always_the_same():
    records = derive_export("d", ROWS).files["records.json"]
    first = [record["fields"]["response-1"].startswith("On its way") for record in records]
    assert 0 < sum(first) < len(first)
    assert derive_export("d", reversed(ROWS)).files["records.json"] == list(reversed(records))


def test_parquet_goes_to_any_address_that_fsspec_knows(frozen: str):
    import fsspec

    export(frozen, "memory://exported/pairs", "parquet")
    with fsspec.open("memory://exported/pairs/train.parquet") as file:
        assert pyarrow.parquet.read_table(file).num_rows == len(ROWS) - 3


def test_nothing_is_written_over(frozen: str, tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    done = CliRunner().invoke(app, ["dataset", "export", frozen, str(tmp_path / "full")])
    assert done.exit_code == 1
    with pytest.raises(StackFailed, match="could not be written"):
        write_files({"a": b""}, "nosuchscheme://x")


def test_a_hub_address_needs_owner_and_name():
    with pytest.raises(StackFailed, match="owner/name"):
        push_to_hub({}, "hf://name")


def test_dvc_must_be_there_and_the_folder_its_repository(tmp_path: Path):
    with pytest.raises(StackFailed, match="pip install dvc"):
        DvcRepository(tmp_path, "no-such-dvc").run("status")
    with pytest.raises(StackFailed, match="no DVC repository"):
        DvcRepository(tmp_path, "true").run("status")


def test_the_stage_trains_a_candidate_from_its_dataset_recipe_and_base():
    stage = derive_training_stage("c1", "datasets/ab", "recipes/c1.yaml", "models/base")
    assert (stage["deps"], stage["outs"]) == (["datasets/ab", "recipes/c1.yaml", "models/base"], ["models/c1"])
    assert "heliotrope train recipes/c1.yaml --base models/base --dataset datasets/ab" in stage["cmd"][1]
