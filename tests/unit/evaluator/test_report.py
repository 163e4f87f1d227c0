"""The report, its hash and its page."""

import json
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from services.evaluator.domain.interval_plot import draw_interval
from services.evaluator.domain.report import (
    JudgedPrompt,
    Subject,
    calculate_report_hash,
    derive_report,
    derive_verdict,
    encode_report,
)
from services.evaluator.domain.report_page import render_page
from services.evaluator.domain.report_schema import Report, render_schema
from services.evaluator.domain.votes.ballots import Ballot
from services.evaluator.domain.votes.tournament import describe, rank
from services.evaluator.domain.votes.win_rate import VotingPlan, assess_win_rate
from shared.events import GateResult
from shared.page_policy import hash_source

HOSTILE = "</td><script>alert('x')</script>\" onload=\"x"


def rank_two(scores: dict[str, Any]) -> dict[str, Any]:
    """A tournament as the report shows it."""
    told = describe(rank(scores, VotingPlan().find_design(6)))
    for place in told["places"]:
        place |= {"verdict": "pass" if place["beats_champion"] else "fail", "stopped_by": [HOSTILE]}
    return told | {"not_ranked": {HOSTILE: HOSTILE}}


def report(answer: str = "Send it back within 30 days.") -> dict[str, Any]:
    ballots = [Ballot("p1", True, "left"), Ballot("p1", False, "tie"), Ballot("p2", True, None)]
    return derive_report(
        Subject("e1", "q1", "r1", "2", "1", "d" * 64, None, None),
        [assess_win_rate(ballots, VotingPlan())],
        [
            JudgedPrompt("p1", [{"role": "user", "content": HOSTILE}], answer, "It depends."),
            JudgedPrompt("p2", [{"role": "user", "content": "Why?"}], answer, "Because."),
        ],
        ballots,
        {"seed": 0},
        datetime(2026, 11, 22, tzinfo=UTC),
    )


def gate(verdict: Any) -> GateResult:
    return GateResult(name="win_rate", verdict=verdict, summary="")


@pytest.mark.parametrize(
    ("verdicts", "overall"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "inconclusive"], "inconclusive"),
        (["inconclusive", "fail", "pass"], "fail"),
        ([], "inconclusive"),
    ],
)
def test_one_failure_fails_and_one_doubt_leaves_doubt(verdicts: list[str], overall: str) -> None:
    assert derive_verdict([gate(verdict) for verdict in verdicts]) == overall


def test_a_gate_that_only_warns_stops_nothing() -> None:
    warning = GateResult(name="diversity", verdict="fail", summary="", blocks=False)
    assert derive_verdict([gate("pass"), warning]) == "pass"
    assert derive_verdict([warning]) == "inconclusive"


def test_a_report_holds_both_answers_and_the_votes() -> None:
    body = report()
    raters, agreement = body["votes"].pop("raters"), body["votes"].pop("agreement")
    assert (raters, agreement) == ([], None)
    assert body["votes"] == {
        "asked": 3,
        "cast": 2,
        "left": 1,
        "right": 0,
        "tie": 1,
        "left_share_of_decided": 1.0,
    }
    assert body["prompts"][0]["candidate_scores"] == [1.0, 0.5]
    assert body["prompts"][0]["candidate_score"] == 0.75
    assert body["prompts"][1]["candidate_score"] is None


def test_the_hash_is_of_the_canonical_bytes_and_any_change_changes_it() -> None:
    body = report()
    assert calculate_report_hash(json.loads(encode_report(body))) == calculate_report_hash(body)
    assert calculate_report_hash(report("Another answer.")) != calculate_report_hash(body)


def test_a_page_escapes_everything_that_people_and_models_wrote() -> None:
    page = render_page(report(HOSTILE))
    assert "<script" not in page
    assert 'onload="x' not in page
    assert "&lt;script&gt;" in page
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert escape(f"style-src {hash_source(style)};") in page


def test_a_page_begins_with_the_verdict_and_draws_each_interval_over_where_it_has_to_lie() -> None:
    body = report()
    body["gates"] = [
        {"name": "win_rate", "verdict": "pass", "summary": "", "effect": 0.7, "low": 0.6, "high": 0.8},
        {"name": "refusals", "verdict": "fail", "summary": "", "effect": 0.3, "low": 0.2, "high": 0.4, "ceiling": 0.13},
        {"name": "diversity", "verdict": "fail", "summary": "", "effect": None, "blocks": False},
    ]
    body["verdict"] = "fail"
    page = render_page(body)
    assert page.index("<h1") < page.index("because of refusals; to be looked at: diversity") < page.index("Gates</h2>")
    assert page.count("<svg") == 2
    assert 'aria-label="0.3, interval 0.2 to 0.4"' in page
    win_rate = draw_interval(body["gates"][0])
    assert 'class="allowed" x="160.0"' in win_rate
    assert win_rate.index('x1="189.6"') > 0


def test_the_worst_prompts_stand_first() -> None:
    body = report()
    body["prompts"][1]["candidate_score"] = 0.0
    page = render_page(body)
    assert page.index("user: Why?") < page.index("Send it back")


def test_a_tournament_is_shown_where_there_was_one() -> None:
    scores = {"3": np.full(30, 0.9), HOSTILE: np.full(30, 0.5)}
    page = render_page(report() | {"tournament": rank_two(scores)})
    assert "3 may go on; 30 units." in page
    assert HOSTILE not in page
    assert "Tournament" not in render_page(report())


def test_the_published_schema_is_what_the_code_says_and_what_reports_keep() -> None:
    published = Path(__file__).parents[3] / "docs" / "api" / "report.schema.json"
    assert json.loads(published.read_text()) == render_schema(), "run make api-docs"
    made = report() | {"tournament": rank_two({"3": np.full(30, 0.9)})}
    for content in (report(), made, json.loads(encode_report(report()))):
        assert msgspec.convert(content, Report).verdict == "inconclusive"
    for wrong in ({"verdict": "maybe"}, {"more": 1}, {"gates": [{"name": 1}]}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(report() | wrong, Report)
