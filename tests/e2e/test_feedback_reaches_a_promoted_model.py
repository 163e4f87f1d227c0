"""The whole loop on a tiny model: real servers, every service its own process, nothing patched."""

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from local.demo.plan import PLANS
from local.demo.run import run_demo
from local.demo.screen import Screen
from tests.e2e.visitor import KINDS, PAGES, Visitor, visiting


@pytest.mark.timeout(900)
def test_feedback_reaches_a_promoted_model(tmp_path: Path, find_port_base: Callable[[], int]):
    tmp_path.chmod(0o755)
    home = tmp_path / "a home" / "demo"
    told = io.StringIO()
    screen = Screen(Console(file=told, width=200))
    port_base = find_port_base()
    try:
        with visiting(Visitor(home, f"http://127.0.0.1:{port_base}")) as visitor:
            asyncio.run(run_demo(PLANS["tiny"], home, port_base, seed=3, screen=screen))
    except BaseException:
        sys.stdout.write(told.getvalue())
        raise
    report = json.loads((home / "report.json").read_text())

    assert report["champion_after"] != report["champion_before"]
    assert report["events_accepted"] == sum(report["events_by_type"].values())
    assert set(report["events_by_type"]) >= {"thumb", "rating", "choice", "edit", "regenerate", "complaint", "retract"}
    assert [reason["kind"] for reason in report["retrain_reasons"]] == ["volume"]
    assert report["held_out_win_rate"]["low"] > 0.5
    assert report["approval_rate"]["before"]["n"] >= 100
    assert report["approval_rate"]["templates"] >= 20
    # A model this small learns the manner and not the subject of an unseen question; the demo's model is held to more.
    assert report["approval_rate"]["after"]["value"] > report["approval_rate"]["before"]["value"]
    assert [stage["percent"] for stage in report["stages"]] == [25, 50, 100]
    assert len(report["dataset_sha256"]) == 64
    assert report["lineage_checked"]
    _check_what_the_pictures_need(report)
    assert {path: status for path, status in visitor.answers.items() if status != 200} == {}
    assert set(PAGES) <= visitor.answers.keys()
    assert visitor.kinds == KINDS
    assert f"{report['approval_rate']['after']['value']:.0%}" in (home / "report.html").read_text()
    assert "report.html" in told.getvalue()
    assert not [process for process in psutil.process_iter() if str(home) in " ".join(_read_command(process))]


def _check_what_the_pictures_need(report: dict[str, Any]) -> None:
    stages = [stage["name"] for stage in report["timeline"]]
    loop = ["start", "listen", "train", "evaluate", "approve", "canary", "measure", "stop"]
    assert [name for name in stages if name in loop] == loop
    assert all(stage["end"] >= stage["start"] for stage in report["timeline"])
    (training,) = report["trainings"]
    assert len(training["curves"]["loss"]) == len(training["curves"]["grad_norm"]) > 10
    assert training["guards"]["max_gradient_norm"] > 0
    (canary,) = report["canaries"]
    assert canary["stages"][0]["evidence"]["e_advance"] >= canary["advances_at"] > 1
    assert (
        sum(sum(parts.values()) for parts in report["pairs"]["by_rule_and_split"].values()) == report["pairs"]["active"]
    )
    assert report["story"]["version"] == report["champion_after"]
    assert report["story"]["pair"]["chosen"]


def _read_command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
