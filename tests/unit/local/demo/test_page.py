"""The report's page: what it says, what it must never let in, and that every scenario's report makes one."""

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.demo.page.headline import compare_baselines, derive_headline
from local.demo.page.render import render_page
from local.demo.page.scales import Scale, choose_powers, choose_ticks

FOLDER = Path(__file__).parents[4] / "docs" / "demo"
KEPT = json.loads((FOLDER / "report.json").read_text())
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"

RUN = {"model": "tiny", "seed": 3, "events_accepted": 1_204, "answers_served": 990, "champion_before": "1"}
WIN_RATE = {"value": 0.51, "low": 0.37, "high": 0.64, "n": 120, "prompts": 60}
SCENARIOS: dict[str, dict[str, Any]] = {
    "placebo": RUN
    | {"champion_after": "1", "promoted": False, "summary": "inconclusive", "held_out_win_rate": WIN_RATE},
    "harm": RUN
    | {
        "champion_after": "1",
        "harm": {
            "canary_answers": 64,
            "bad_answers": 57,
            "votes": {"champion": {"votes": 190, "ups": 160}, "canary": {"votes": 60, "ups": 8}},
            "seconds": 21.4,
            "summary": "worse: e-value 31",
        },
    },
    "falling": RUN
    | {
        "champion_after": "1",
        "falling": {
            "reason": "the positive rate fell",
            "votes_to_alarm": 132,
            "votes_after_change": 140,
            "seconds": 33.0,
            "pairs_then": 300.0,
            "volume_threshold": 1500.0,
            "history": [0.8, 0.84, 0.8, 0.5, 0.48],
            "changed_at_thumb": 70,
        },
    },
    "rounds": RUN
    | {
        "champion_after": "3",
        "approval_rate": {
            "before": {"value": 0.04, "n": 120, "low": 0.01, "high": 0.1},
            "after": {"value": 0.3, "n": 120},
        },
        "rounds": [
            {
                "round": n,
                "promoted": n < 3,
                "length_words": 20.0 - n,
                "distinct_2": 0.5 - n / 50,
                "kl_to_anchor": 0.3 * n,
                "approval": {"value": 0.1 * n, "n": 120, "low": 0.1 * n - 0.05, "high": 0.1 * n + 0.05},
                "holdback": {"champion": 0.7, "holdback": 0.4, "difference": 0.3} if n < 3 else None,
            }
            for n in (1, 2, 3)
        ],
    },
}  # fmt: skip


class Reader(HTMLParser):
    """Every tag with its attributes, and all visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def spoil(value: Any) -> Any:
    """The same report with every text of it hostile; names that select a part of the page stay."""
    match value:
        case dict():
            return {key: each if key in ("name", "scenario", "type") else spoil(each) for key, each in value.items()}
        case list():
            return [spoil(each) for each in value]
        case str():
            return HOSTILE
    return value


def test_the_kept_report_shows_every_picture():
    page = render_page(KEPT)
    read = Reader(page)

    anchors = {attributes.get("id") for tag, attributes in read.tags if tag == "section"}
    assert anchors >= {"timeline", "pairs", "training", "gates", "canary", "approval", "answers", "lineage"}
    assert sum(tag == "article" for tag, _ in read.tags) == 6
    for side in ("before", "after"):
        assert f"{KEPT['approval_rate'][side]['value']:.0%}" in read.text
        assert all(sample[side] in read.text for sample in KEPT["samples"])
    assert "1/α" in read.text
    assert KEPT["story"]["click"]["text"] in read.text


def test_the_kept_page_is_what_the_templates_make_of_the_kept_report():
    """Else: python -m local.demo.page docs/demo/report.json (--pictures)"""
    assert (FOLDER / "report.html").read_text() == render_page(KEPT)


def test_hostile_texts_stay_texts():
    read = Reader(render_page(spoil(KEPT)))

    assert not {tag for tag, _ in read.tags} & {"script", "img", "iframe", "object", "embed", "base", "form"}
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on") or name == "style"]
    assert "<script>alert(1)</script>" in read.text
    assert "{{ 7 * 7 }}" in read.text


def test_the_policy_admits_the_pages_own_style_and_nothing_else():
    page = render_page(KEPT)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert policy is not None
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()

    directives = dict(each.split(" ", 1) for each in policy[1].replace("&#39;", "'").split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["style-src"] == f"'sha256-{digest}'"
    assert not any(url.startswith("http") for url in re.findall(r'(?:src|href|url)\s*=\s*"([^"]*)"', page))


@pytest.mark.parametrize("missing", sorted(KEPT))
def test_a_part_whose_data_is_absent_is_left_out(missing: str):
    assert "<h1>" in render_page({key: value for key, value in KEPT.items() if key != missing})


@pytest.mark.parametrize("scenario", ["turn", *SCENARIOS])
def test_a_report_that_says_next_to_nothing_still_makes_a_page(scenario: str):
    assert "<h1>" in render_page({"scenario": scenario})


@pytest.mark.parametrize(
    ("scenario", "sentence", "numbers"),
    [
        ("placebo", "promoted nothing", {"0", "51%"}),
        ("harm", "rolled it back after 64 answers, 57 of them bad", {"57", "21 s", "250", "8 of 60"}),
        ("falling", "140 votes later", {"132", "140", "33 s", "300 of 1,500"}),
        ("rounds", "turned 3 times and promoted 2", {"4% → 30%", "19 → 17", "0.48 → 0.44", "0.90"}),
    ],
)
def test_the_first_screen_says_what_the_scenario_showed(scenario: str, sentence: str, numbers: set[str]):
    report = {"scenario": scenario} | SCENARIOS[scenario]
    headline = derive_headline(report)

    assert sentence in headline.sentence
    assert numbers <= {tile.number for tile in headline.tiles}
    assert headline.sentence in Reader(render_page(report)).text


def test_both_pictures_of_a_canary_have_its_stages_at_the_same_places():
    """The first votes may be the champion's alone, so the candidate's curve begins later than the evidence."""
    page = render_page(KEPT)
    canary = page[page.index('<section id="canary"') : page.index('<section id="approval"')]
    places = [
        re.findall(r'class="band[^"]*" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)
        for svg in canary.split("<svg")[1:]
    ]
    assert len(places) == 2
    assert places[0] == places[1] != []


def test_rounds_are_small_multiples_with_the_start_and_intervals():
    page = render_page({"scenario": "rounds"} | SCENARIOS["rounds"])
    titles = re.findall(r"<h3>([^<]+)</h3>", page)
    assert titles == [
        "Approval",
        "Thumbs up after promotion",
        "Words an answer",
        "Distinct-2: variety of wording",
        "KL to the first model, nats a token",
    ]
    assert page.count('class="whisker') == 4
    assert "Difference: +30% in round 1, +30% in round 2." in page


@pytest.mark.parametrize(
    ("value", "low", "high", "said", "is_against"),
    [
        (0.9, 0.85, 0.95, "does better than the new champion: 90% against 75%, and the intervals do not", True),
        (0.78, 0.7, 0.85, "does better than the new champion: 78% against 75%, but the intervals overlap", True),
        (0.75, 0.7, 0.8, "level with the new champion: 75% against 75%", False),
        (0.72, 0.6, 0.8, "does worse than the new champion: 72% against 75%, but the intervals overlap", False),
        (0.2, 0.1, 0.3, "does worse than the new champion: 20% against 75%, and the intervals do not", False),
    ],
)
def test_the_report_says_where_a_baseline_wins(value: float, low: float, high: float, said: str, is_against: bool):
    rate = {"value": 0.75, "n": 120, "low": 0.68, "high": 0.81}
    approval = {"value": value, "low": low, "high": high, "n": 120}
    report = copy.deepcopy(KEPT) | {
        "approval_rate": KEPT["approval_rate"] | {"after": rate},
        "baselines": [{"name": "sft", "summary": "SFT on the chosen answers", "approval": approval}],
    }
    (remark,) = compare_baselines(report)
    assert said in remark.summary
    assert remark.is_against == is_against
    assert remark.summary in Reader(render_page(report)).text


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_in_order_and_within_the_axis(low: float, span: float):
    ticks = choose_ticks(low, low + span)
    assert 1 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)


@given(st.integers(-12, 300), st.integers(1, 300))
def test_powers_are_few_and_within_the_axis(first: int, decades: int):
    low, high = 10.0**first, 10.0 ** min(first + decades, 305)
    powers = choose_powers(low, high)
    assert 2 <= len(powers) <= 5 or decades < 2
    assert all(low * 0.999 <= power <= high * 1.001 for power in powers)


@given(st.lists(st.floats(1e-9, 1e9), min_size=2, max_size=20, unique=True), st.booleans())
def test_larger_values_lie_further_along_and_none_outside(values: list[float], is_log: bool):
    scale = Scale(1e-6, 1e6, 200.0, 10.0, is_log)
    places = [scale.place(value) for value in sorted(values)]
    assert places == sorted(places, reverse=True)
    assert all(10.0 <= place <= 200.0 for place in places)
