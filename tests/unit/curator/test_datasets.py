"""A frozen dataset's folder: what reads it, what its card says, how two of them differ."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from cli.main import app
from services.curator.datasets.adapters import DatasetContent, read_selection_log, write_dataset
from services.curator.datasets.domain.data_card import derive_card, escape
from services.curator.datasets.domain.manifest import SnapshotContext, derive_manifest
from services.curator.datasets.domain.rows import calculate_dataset_sha256, derive_rows
from services.curator.datasets.domain.selection_log import WITHDRAWN, derive_diff, derive_selection_log
from services.curator.datasets.domain.snapshot import Caps, Snapshot, derive_snapshot
from services.curator.pairs.domain.rules import EDIT
from services.curator.weighing.domain.curation import curate
from services.curator.weighing.domain.history import Decisions, FeedbackRecord, History, LabelEvidence
from services.curator.weighing.domain.quarantine import Quarantine
from shared.conversation import Conversation
from tests.builders import MORNING, make_splitting
from tests.unit.curator.shop_votes import make_crowd, make_history, vote

HOSTILE = "<script>alert(1)</script> | [click](javascript:x) `![x](http://e)` # \u202e"


def freeze(history: History, folder: Path, question: str = "Where is it?") -> Path:
    curated = curate(history, Decisions())
    snapshot = derive_snapshot(curated, history, {}, Caps(200, 20))
    asked = Conversation([{"role": "user", "content": question}])
    rows = derive_rows(snapshot, {pair.prompt_hash: asked for pair in history.pairs})
    sha256 = calculate_dataset_sha256(rows)
    context = SnapshotContext(None, "1", {"empty": 2}, make_splitting(gate_prompts=3), Quarantine())
    manifest = derive_manifest(snapshot, curated, context, sha256)
    content = DatasetContent(
        sha256, rows, manifest, derive_card(manifest, rows), derive_selection_log(curated, snapshot)
    )
    return write_dataset(folder, content)


def add_praise(history: History) -> History:
    """An answer that somebody rated highly: a label, and a demonstration."""
    said = FeedbackRecord(UUID(int=7_777), "wanda", MORNING, value=1.0)
    pair = history.pairs[0]
    label = LabelEvidence(
        "label-1", pair.prompt_hash, "train", pair.chosen, True, "rating", 1, 0.15, (said.event_id,), UUID(int=1), "1"
    )
    return replace(history, labels=[label], feedback={**history.feedback, said.event_id: said})


@pytest.fixture
def votes() -> list[Any]:
    return [vote(number, f"user{number}", number, first=number % 2 == 0) for number in range(6)]


def test_the_same_evidence_gives_the_hash_that_it_always_gave(tmp_path: Path) -> None:
    """A rule, a format or a figure that changes on purpose changes this hash, and says so in the changelog."""
    assert freeze(make_crowd(), tmp_path).name == "98718d800cbe8d9b93d0d77f2aa8faabcfad58bb32c43a370d72ca7720ce9545"


def test_the_datasets_library_reads_each_kind_with_trls_columns(
    votes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    folder = freeze(add_praise(make_history(votes)), tmp_path / "datasets")
    cache = str(tmp_path / "cache")
    pairs = datasets.load_dataset(str(folder), cache_dir=cache)
    assert set(pairs) == {"train"}
    assert {"prompt", "chosen", "rejected", "epsilon"} <= set(pairs["train"].column_names)
    assert len(pairs["train"]) == 6
    for kind, columns in {"labels": {"prompt", "completion", "label"}, "sft": {"prompt", "completion"}}.items():
        assert columns <= set(datasets.load_dataset(str(folder), kind, cache_dir=cache)["train"].column_names)


def test_hostile_text_is_plain_words_on_the_card(votes: list[Any], tmp_path: Path) -> None:
    card = (freeze(make_history(votes), tmp_path, question=HOSTILE) / "README.md").read_text()
    for dangerous in ("<script", "](", "javascript:x)", "`!", "\u202e"):
        assert dangerous not in card
    assert "alert" in card


def test_escaping_leaves_words_readable() -> None:
    assert escape("Where is it?  On\nFriday, 12%.") == "Where is it? On Friday, 12%."
    assert escape("a|b<c>") == "a&#124;b&#60;c&#62;"


def test_a_diff_says_what_came_what_went_and_why(votes: list[Any], tmp_path: Path) -> None:
    before = freeze(make_history(votes[:4]), tmp_path)
    against = vote(100, "tomas", 1, right=False, first=False)
    after = freeze(make_history([*votes[1:], against]), tmp_path)
    found = derive_diff(read_selection_log(before), read_selection_log(after))
    assert {change.id: change.why for change in found.came} == dict.fromkeys(
        ["pair-000004", "pair-000005"], "new evidence"
    )
    assert {change.id: change.why for change in found.went} == {
        "pair-000000": WITHDRAWN,
        "pair-000001": "left out: contested",
    }
    assert found.kept == 2
    assert derive_diff(read_selection_log(before), read_selection_log(before)).came == []


def select(votes: list[Any]) -> Snapshot:
    history = make_history(votes)
    return derive_snapshot(curate(history, Decisions()), history, {}, Caps(200, 20))


def test_users_who_agree_make_one_row_that_is_surer() -> None:
    alone, together = select([vote(1, "ines", 1)]), select([vote(1, "ines", 1), vote(2, "omar", 1), vote(3, "zoe", 1)])
    assert [pair.item.pair_id for pair in together.train] == ["pair-000001"]
    assert together.left_out == {"pair-000002": "repeated", "pair-000003": "repeated"}
    assert together.train[0].epsilon < alone.train[0].epsilon / 2


def test_what_a_user_wrote_stays_worth_imitating_where_others_chose_it() -> None:
    votes = [vote(1, "ines", 1), vote(2, "omar", 1, rule=EDIT), vote(3, "zoe", 1)]
    assert [pair.item.pair_id for pair in select(votes).edits] == ["pair-000002"]


def test_the_command_lists_shows_and_compares(
    votes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELIOTROPE_DATASETS_DIR", str(tmp_path))
    before, after = freeze(make_history(votes[:4]), tmp_path), freeze(make_history(votes), tmp_path)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["dataset", *arguments])

    listed = run("list").stdout
    assert before.name[:12] in listed
    assert after.name[:12] in listed
    assert "How far to trust it" in run("show", before.name[:12]).stdout
    compared = run("diff", before.name[:12], after.name[:12], "--ids").stdout
    assert "new evidence" in compared
    assert "+ pair-000005" in compared
    wrong = run("show", "ffff0000ffff")
    assert wrong.exit_code == 1
    assert "begins with" in wrong.stderr
