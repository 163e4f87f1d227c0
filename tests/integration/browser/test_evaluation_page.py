"""The evaluator's page in a real browser: no complaint in the console, no request, no scrolling sideways."""

from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from bench.gates.worlds import KINDS, simulate
from local.chromium import Chromium
from services.evaluator.domain.gates import assess_all
from services.evaluator.domain.policy import Policy, dump_policy
from services.evaluator.domain.report import JudgedPrompt, Subject, derive_report
from services.evaluator.domain.report_page import render_page
from services.evaluator.domain.votes.win_rate import VotingPlan

WINDOWS = {"desktop": (1280, 900), "phone": (360, 780)}
HOSTILE = (
    f"{'x' * 300}<script>fetch('http://127.0.0.1:9/')</script><img src='http://127.0.0.1:9/a.png' onerror='alert(1)'>"
)


def write_page(folder: Path, said: str = "") -> str:
    """Write the page of a whole evaluation by a panel, with every gate; `said` stands in all that others wrote."""
    evaluated = simulate(KINDS[0], Random("page"))
    policy = Policy(win_rate=VotingPlan(estimand="panel"))
    measured = evaluated.generation | {"policy": dump_policy(policy), "not_measured": {f"latency{said}": f"why{said}"}}
    measured |= {"tokens": {"candidate": [9.0] * 60, "champion": [8.0] * 60}, "kl_to_champion": [0.1] * 60}
    prompts = [
        JudgedPrompt(
            each.prompt_hash,
            [{"role": "user", "content": f"Where?{said}"}],
            each.candidate + said,
            each.champion + said,
        )
        for each in evaluated.prompts
    ]
    gates = assess_all("2", measured, prompts, evaluated.ballots, policy)
    subject = Subject("e1", "q1", "r1", f"2{said}", f"1{said}", "d" * 64, "w" * 64, "r" * 64)
    report = derive_report(subject, gates, prompts, evaluated.ballots, measured, datetime(2026, 11, 28, tzinfo=UTC))
    page = folder / "report.html"
    page.write_text(render_page(report), encoding="utf-8")
    return page.as_uri()


@pytest.mark.parametrize("said", ["", HOSTILE], ids=["plain", "hostile"])
@pytest.mark.parametrize("window", list(WINDOWS))
def test_the_page_loads_without_a_complaint_and_fits(
    chromium: Chromium, tmp_path: Path, window: str, said: str
) -> None:
    width, height = WINDOWS[window]
    url = write_page(tmp_path, said)

    loaded = chromium.load(url, width=width, height=height)

    assert loaded.complaints == []
    assert [each for each in loaded.requests if not each.startswith("data:")] == [url]
    assert loaded.width <= width
    assert loaded.height > 2 * height
