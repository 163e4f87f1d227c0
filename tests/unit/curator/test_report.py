"""The data report: figures and ids beside the dataset, users' words only for whoever may look them up."""

import json
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.curator.datasets.adapters import DatasetContent, write_dataset
from services.curator.datasets.domain.charts import Series, draw_bars, draw_columns
from services.curator.datasets.domain.report import (
    EXAMPLES,
    Intake,
    count_lengths,
    derive_report,
    measure_concentration,
)
from services.curator.datasets.domain.report_page import POLICY, render_report
from services.curator.datasets.domain.rows import calculate_dataset_sha256, derive_rows
from services.curator.datasets.domain.snapshot import Caps, Snapshot, derive_snapshot
from services.curator.pairs.domain.rules import CHOICE
from services.curator.weighing.domain.curation import curate
from services.curator.weighing.domain.history import Decisions, FeedbackRecord, History, PairEvidence
from services.curator.weighing.domain.quarantine import Quarantine
from shared.conversation import Conversation
from shared.page_policy import hash_source
from tests.builders import MORNING

HOSTILE = "<script>alert(1)</script>&\"'"
REFUSED = {"near_identical": 4, HOSTILE: 1}


def make_choice(number: int, user: str) -> tuple[PairEvidence, FeedbackRecord]:
    key = UUID(int=number + 1)
    pair = PairEvidence(
        f"pair-{number:03d}", f"{number % 7:064x}", "train", f"a good answer of number {number}", f"a poor {number}",
        CHOICE.name, 1, CHOICE.epsilon, (key,), UUID(int=9_000 + number), UUID(int=8_000 + number), "1", "1",
    )  # fmt: skip
    return pair, FeedbackRecord(key, user, MORNING)


def freeze(per_user: int) -> tuple[History, Snapshot]:
    """Thirty choices of one user, and one each of ten."""
    made = [make_choice(number, "ann") for number in range(30)]
    made += [make_choice(100 + number, f"user{number}") for number in range(10)]
    history = History([pair for pair, _ in made], [], {said.event_id: said for _, said in made}, {})
    return history, derive_snapshot(curate(history, Decisions()), history, {}, Caps(per_user, per_prompt=100))


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    history, snapshot = freeze(per_user=20)
    waiting = Quarantine({UUID(int=77): "burst"})
    intake = Intake(500, {"choice": 40, "thumb, parked": 2}, 3, {"near_identical": ["p1", "p2", "p3", "p4"]})
    report = derive_report(snapshot, history, waiting, REFUSED, intake)
    counts = {"train": len(snapshot.train), "validation": 0}
    rules = {"rules": {"choice v1": 20, "same_user_contrast v2": 10}, "label_rules": {"thumb v1": 4}}
    splits = {"splits": {"prompts": {"train": 7, "validation": 2, "gate": 3}}}
    return {"dataset_sha256": "ab" * 32, "parent_version": "7", "counts": counts, "report": report, **rules, **splits}


def test_every_reason_is_counted_with_at_most_three_examples(manifest: dict[str, Any]) -> None:
    reasons = {(one["stage"], one["reason"]): one for one in manifest["report"]["not_kept"]}
    assert set(reasons) == {
        ("refused", "near_identical"), ("refused", HOSTILE), ("left_out", "user_cap"), ("quarantine", "burst"),
    }  # fmt: skip
    capped = reasons["left_out", "user_cap"]
    assert (capped["count"], len(capped["examples"])) == (10, EXAMPLES)
    assert reasons["refused", "near_identical"]["examples"] == ["p1", "p2", "p3"]
    assert reasons["quarantine", "burst"]["examples"] == [str(UUID(int=77))]


def test_figures_are_those_of_what_was_kept(manifest: dict[str, Any]) -> None:
    report = manifest["report"]
    assert sum(report["epsilon"]["pairs"]) == sum(report["lengths"]["chosen"]) == manifest["counts"]["train"] == 30
    assert report["users"] == {"count": 11, "largest": [20, *[1] * 10], "rows": 30, "half": 1}
    assert sum(report["languages"].values()) == 30


def test_concentration_and_lengths_are_counted() -> None:
    found = measure_concentration([1, 5, 2, 2])
    assert (found.count, found.largest, found.rows, found.half) == (4, [5, 2, 2, 1], 10, 1)
    assert measure_concentration([2, 2, 2, 2]).half == 2
    assert measure_concentration([]).half == 0
    assert count_lengths(["", "one two", "字" * 12, "word " * 1_000]) == [2, 0, 1, 0, 0, 0, 0, 0, 1]


def test_the_stored_report_holds_nobodys_words_and_nobodys_name(manifest: dict[str, Any], tmp_path: Path) -> None:
    history, snapshot = freeze(per_user=20)
    seen = Conversation([{"role": "user", "content": "where is it?"}], [])
    asked = {pair.prompt_hash: seen for pair in history.pairs}
    rows = derive_rows(snapshot, asked)
    folder = write_dataset(tmp_path, DatasetContent(calculate_dataset_sha256(rows), rows, manifest, "", []))
    page, figures = (folder / "meta/report.html").read_text(), (folder / "meta/report.json").read_text()
    assert json.loads(figures) == manifest["report"]
    for text in ("good answer", "where is it", "ann", "user1"):
        assert text not in figures
    assert "good answer" not in page
    assert "where is it" not in page


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_texts_are_shown_to_whoever_looks_them_up_and_do_nothing(manifest: dict[str, Any]) -> None:
    shown = read(render_report(manifest, {"p1": [("asked", HOSTILE), ("preferred", "x" * 5_000)]}))
    assert HOSTILE in shown.text
    assert "script" not in shown.tags
    assert "For admins only" in shown.text
    assert not any(name.startswith("on") or name == "style" for name in shown.attributes)
    assert "p2 is gone" in shown.text.replace("  ", " ")
    assert "x" * 601 not in shown.text


def test_the_page_admits_its_own_style_sheet_by_its_hash_and_nothing_else(manifest: dict[str, Any]) -> None:
    page = render_report(manifest)
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert f"style-src {hash_source(style)};" in POLICY
    assert escape(POLICY) in page
    assert "unsafe" not in POLICY


def test_a_report_of_rows_that_were_erased_since_says_so(manifest: dict[str, Any]) -> None:
    assert "3 rows were erased since" in render_report(manifest | {"erased_rows": 3})


def test_pairs_and_labels_by_rule_and_prompts_by_split_are_drawn_where_the_manifest_counts_them(
    manifest: dict[str, Any],
) -> None:
    shown = read(render_report(manifest)).text
    for caption in ("Pairs by rule", "same user contrast v2", "Labels by rule", "thumb v1", "Prompts by split", "gate"):
        assert caption in shown
    early = {name: value for name, value in manifest.items() if name not in ("rules", "label_rules", "splits")}
    assert "by rule" not in read(render_report(early)).text


def test_charts_draw_every_value_and_survive_none() -> None:
    assert draw_bars([("en", 5), ("<b>", 0)]).count("<rect") == 2
    assert "&lt;b&gt;" in draw_bars([("<b>", 0)])
    columns = draw_columns(["0", "5"], [Series("one", [1, 2]), Series("two", [0, 0])])
    assert columns.count("<title>") == 4
    assert draw_bars([]).startswith("<svg")
    assert draw_columns([], [Series("one", [])]).startswith("<svg")
