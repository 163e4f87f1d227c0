"""`heliotrope evaluate` over servers that count what they are asked, and processes that are killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from cli.main import app
from services.evaluator.domain.report_schema import Report
from services.evaluator.handlers.asking import CONCURRENCY
from tests.fake_chat import FakeChat, serve_chat

PROMPTS = 40
SUBJECTS = ("toaster", "lamp", "rug", "kettle", "parcel", "invoice")


def answer(body: dict[str, Any]) -> str:
    """Both models say much the same, each in its own words."""
    asked = body["messages"][-1]["content"]
    number = sum(map(ord, asked)) % 89
    if body["model"] == "new":
        return f"Please open order {number} and choose track; the link there shows you where it is today."
    return f"You can look at order {number}: there is a link to track it, which says where it is now."


def judge(body: dict[str, Any]) -> str:
    """Prefer the first seat where the order's number is odd, else whoever says please."""
    text = body["messages"][-1]["content"]
    first = text.index("Please open") < text.index("You can look") if "Please open" in text else True
    if int(re.findall(r"order (\d+)", text)[0]) % 7 == 0:
        return '{"winner": "first"}'
    return f'I weigh them. {{"winner": "{"first" if first else "second"}"}}'


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.jsonl"
    lines = [{"prompt": f"Where is the {SUBJECTS[n % 6]} number {n} that I ordered from you?"} for n in range(PROMPTS)]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


def derive_arguments(prompts: Path, chat: FakeChat, candidate: str | None = None) -> list[str]:
    models = [candidate or f"{chat.url}#new", f"{chat.url}#old"]
    return ["evaluate", *models, "--prompts", str(prompts), "--output", str(prompts.parent / "out"), "--no-suite"]


def run(prompts: Path, chat: FakeChat, *options: str, candidate: str | None = None) -> tuple[int, str, dict[str, Any]]:
    result = CliRunner().invoke(app, [*derive_arguments(prompts, chat, candidate), *options])
    file = prompts.parent / "out" / "report.json"
    report = json.loads(file.read_text()) if file.exists() else {}
    if report:
        msgspec.convert(report, Report)
    return result.exit_code, result.output, report


def find_gate(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(gate for gate in report["gates"] if gate["name"] == name)


def write_votes(prompts: Path, raters: int) -> Path:
    """Each rater judges a pile, and mostly prefers whoever says please."""
    lines = (prompts.parent / "out" / "comparisons.jsonl").read_text().splitlines()
    votes = []
    for place, comparison in enumerate(map(json.loads, lines)):
        side = "left" if comparison["left"].startswith("Please") == (place % 10 > 1) else "right"
        votes.append({"comparison": comparison["comparison"], "rater": f"r{comparison['pile'] % raters}", "vote": side})
    file = prompts.parent / "votes.jsonl"
    file.write_text("".join(f"{json.dumps(vote)}\n" for vote in votes))
    return file


def test_two_endpoints_a_judge_and_people_from_the_cache_and_back(prompts: Path) -> None:
    with serve_chat(lambda body: judge(body) if body["model"] == "judge" else answer(body)) as chat:
        options = ("--judge", f"{chat.url}#judge")
        status, told, report = run(prompts, chat, *options)
        assert (status, report["verdict"]) == (3, "inconclusive"), told
        assert "comparisons.jsonl" in told
        judged = find_gate(report, "judged_win_rate")
        assert (judged["verdict"], judged["blocks"]) == ("pass", False)
        assert "nobody voted" in judged["summary"]
        assert "contamination" in report["generation"]["not_measured"]
        asked = chat.asked.copy()
        assert sum(asked.values()) == 4 * PROMPTS
        status, told, report = run(prompts, chat, *options, "--votes", str(write_votes(prompts, 20)))
        assert chat.asked == asked  # nothing was asked twice
        assert find_gate(report, "win_rate")["n"] == 20
        assert find_gate(report, "combined_win_rate")["effect"] > 0.6
        assert find_gate(report, "cost")["verdict"] == "pass"
        assert find_gate(report, "latency")["n"] == PROMPTS
        page = (prompts.parent / "out" / "report.html").read_text()
        assert "What was not measured" in page


def count_kept(folder: Path) -> int:
    """Count the answers that a run has kept so far."""
    if not folder.exists():
        return 0
    return sum('"key"' in line for file in folder.iterdir() for line in file.read_text().splitlines())


def test_a_killed_run_goes_on_and_asks_nothing_again_that_was_answered(prompts: Path) -> None:
    def slow(body: dict[str, Any]) -> str:
        time.sleep(0.3)
        return answer(body)

    with serve_chat(slow) as chat:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *derive_arguments(prompts, chat)],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        folder, deadline = prompts.parent / "out" / "kept", time.monotonic() + 120
        while count_kept(folder) < CONCURRENCY and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1.0)  # what was under way comes to its end at the server
        before, known = chat.asked.copy(), count_kept(folder)
        assert CONCURRENCY <= known < 2 * PROMPTS
        run(prompts, chat)
        again = chat.asked - before
        assert sum(again.values()) == 2 * PROMPTS - known
        assert sum(chat.asked.values()) <= 2 * PROMPTS + CONCURRENCY


def test_a_missing_model_is_an_error_and_no_verdict_on_it(prompts: Path) -> None:
    with serve_chat(answer) as chat:
        status, _, report = run(prompts, chat, candidate=str(prompts.parent / "nowhere"))
    gate = find_gate(report, "generation")
    assert (status, report["verdict"], gate["verdict"], gate["cause"]) == (3, "inconclusive", "inconclusive", "error")
    assert "nowhere" in gate["summary"]


def test_a_server_that_refuses_is_an_error_and_names_itself(prompts: Path) -> None:
    with serve_chat(answer, status=401) as chat:
        status, _, report = run(prompts, chat)
    gate = find_gate(report, "generation")
    assert (status, gate["cause"]) == (3, "error")
    assert "HTTP 401" in gate["summary"]


@pytest.mark.parametrize("said", ["", "The first is fine.", '{"winner": "first"} or {"winner": "second"}', "{" * 5000])
def test_a_judge_who_talks_nonsense_is_an_error_whatever_else_passes(prompts: Path, said: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("win_rate: {blocks: never}\n")
    with serve_chat(lambda body: said if body["model"] == "judge" else answer(body)) as chat:
        options = ("--policy", str(policy))
        assert run(prompts, chat, *options)[2]["verdict"] == "pass"
        status, _, report = run(prompts, chat, *options, "--judge", f"{chat.url}#judge")
    gate = find_gate(report, "judged_win_rate")
    assert (status, report["verdict"], gate["cause"], gate["blocks"]) == (3, "inconclusive", "error", True)


def test_a_judge_who_is_down_is_an_error_with_the_reason(prompts: Path) -> None:
    with serve_chat(answer) as chat:
        status, _, report = run(prompts, chat, "--judge", "http://127.0.0.1:9/v1#judge", "--limit", "3")
    gate = find_gate(report, "judged_win_rate")
    assert (status, gate["cause"]) == (3, "error")
    assert "ConnectError" in gate["summary"]


@pytest.mark.parametrize(
    ("line", "told"),
    [("{", "line 1: not JSON"), ("[]", "not an object"), ('{"prompt": 3}', "no chat template"), ("", "no prompts")],
)
def test_a_broken_prompt_file_is_named_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(line)
    with serve_chat(answer) as chat:
        status, said, report = run(file, chat)
    assert (status, report) == (1, {})
    assert told in said


def test_prompts_of_one_group_are_one_piece_of_evidence(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    lines = [{"prompt": f"Where is my {SUBJECTS[n % 6]} number {n}?", "group": f"g{n // 2}"} for n in range(80)]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with serve_chat(answer) as chat:
        _, told, report = run(file, chat)
    found = {name: find_gate(report, name) for name in ("refusals", "length", "diversity", "cost", "latency")}
    assert {name: gate["n"] for name, gate in found.items()} == dict.fromkeys(found, 40), told
    assert len(report["generation"]["regions"]) == 80


def test_votes_on_other_answers_are_refused(prompts: Path) -> None:
    file = prompts.parent / "votes.jsonl"
    file.write_text('{"comparison": "0123456789abcdef", "rater": "anna", "vote": "left"}\n')
    with serve_chat(answer) as chat:
        status, told, _ = run(prompts, chat, "--votes", str(file))
    assert status == 1
    assert "0123456789abcdef" in told


def test_a_broken_task_of_the_teams_own_is_never_a_pass(prompts: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "tasks").mkdir()
    (folder / "greeting.yaml").write_text("task: greeting\n  - no: yaml")
    with serve_chat(answer) as chat:
        status, _, report = run(prompts, chat, "--tasks", str(folder))
    gate = find_gate(report, "tasks")
    assert (status, gate["verdict"], gate["cause"], gate["blocks"]) == (3, "inconclusive", "error", True)
    assert "greeting.yaml" in gate["summary"]
