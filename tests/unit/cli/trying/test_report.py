"""The report: one object, and one page that runs nothing and shows hostile texts as texts."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cli.trying.answering import Answers
from cli.trying.commands import STATUSES
from cli.trying.datasets import curate_evidence
from cli.trying.learning import Trained
from cli.trying.reporting.content import Outcome, derive_content, name_deployment, spread
from cli.trying.reporting.page import HEADLINES, render_page
from cli.trying.verdicts import Decision, Estimate, Measure, decide
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import TrainingResult
from shared.page_policy import hash_source
from tests.unit.cli.trying.histories import WordEmbedder, list_rows, read_rows

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
FOUND = Estimate(0.8, 0.62, 0.95, 12, 40)
GOOD = Estimate(0.9, 0.75, 0.98, 40, 60)


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    reading = read_rows(tmp_path / "pairs.jsonl", list_rows())
    curation = curate_evidence(reading.evidence, WordEmbedder())
    measure = Measure("judge", "http://127.0.0.1:1/v1#m", FOUND, GOOD)
    held_out = list(curation.held_out.prompts)
    answers = Answers(dict.fromkeys(held_out, HOSTILE), dict.fromkeys(held_out, "fine"), {})
    found = Outcome("folder", None, reading, decide(measure), tmp_path / "try", 60.0, curation, measure)
    found.answers, found.scores = answers, dict.fromkeys(held_out, 1.0)
    return found


def test_the_object_holds_what_is_promised_and_is_json(outcome: Outcome) -> None:
    content = json.loads(json.dumps(derive_content(outcome)))
    promised = ("verdict", "effect", "interval", "measure", "pairs", "refused", "report")
    assert set(promised) < set(content)
    assert (content["verdict"], content["effect"], content["interval"]) == ("better", 0.8, [0.62, 0.95])
    assert content["pairs"] == outcome.curation.pairs if outcome.curation else False
    assert content["measure"]["trust"] == asdict(GOOD)


def test_the_page_shows_hostile_texts_as_texts_and_loads_nothing(outcome: Outcome) -> None:
    page = render_page(derive_content(outcome))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<img" not in page
    assert "http-equiv" in page
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert hash_source(style).replace("'", "&#x27;") in page


@pytest.mark.parametrize("verdict", list(HEADLINES))
def test_each_verdict_has_its_page(outcome: Outcome, verdict: Any) -> None:
    outcome.decision = Decision(verdict, "of a reason")
    page = render_page(derive_content(outcome))
    assert HEADLINES[verdict] in page
    assert "of a reason" in page


def test_what_failed_has_no_effect(outcome: Outcome) -> None:
    outcome.measure = Measure("judge", "j", FOUND, GOOD, failure="it went away")
    outcome.decision = decide(outcome.measure)
    content = derive_content(outcome)
    assert (content["effect"], content["interval"], content["because"]) == (None, None, "it went away")
    assert "it went away" in render_page(content)


def test_without_a_measure_it_says_how_to_have_one(outcome: Outcome) -> None:
    outcome.measure, outcome.decision = None, decide(None)
    missing = " ".join(derive_content(outcome)["missing"])
    assert "--judge" in missing
    assert "--rate" in missing


def test_one_language_only_is_said(outcome: Outcome) -> None:
    assert any("language" in line for line in derive_content(outcome)["missing"])


def test_a_rating_speaks_for_one_person(outcome: Outcome) -> None:
    outcome.measure = Measure("rating", "your own rating, blind", FOUND)
    assert "one person" in render_page(derive_content(outcome))


def test_answers_are_shown_evenly_from_the_worst_to_the_best() -> None:
    keys = [str(at) for at in range(100)]
    shown = spread(keys, 12)
    assert (shown[0], shown[-1], len(shown)) == ("0", "99", 12)
    assert spread(keys[:5], 12) == keys[:5]


def test_no_verdict_ends_as_an_error_or_a_wrong_option_does() -> None:
    assert set(STATUSES) == set(HEADLINES)
    assert set(STATUSES.values()).isdisjoint({1, 2})
    assert STATUSES["worse"] != STATUSES["no_evidence"]


def test_the_printed_command_is_quoted_for_a_shell(outcome: Outcome, tmp_path: Path) -> None:
    candidate = tmp_path / "my try" / "candidate"
    recipe = parse_recipe({"name": "try", "method": "dpo"})
    outcome.trained = Trained(recipe, TrainingResult(1, "", "", 20, 0), candidate, 1.0)
    assert shlex.split(str(name_deployment(outcome)))[-1] == str(candidate)
