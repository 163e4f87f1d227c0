"""The demo from an empty folder to its report."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.demo.apis import Apis
from local.demo.click_path import trace_click
from local.demo.memory import PeakMemory
from local.demo.page.render import render_page
from local.demo.plan import Plan
from local.demo.record import Recorder
from local.demo.report import describe_run, print_summary
from local.demo.scenarios import SCENARIOS
from local.demo.scenarios.scenario import Scenario
from local.demo.screen import Screen
from local.demo.stages import Stages
from local.layout import find_base_model, find_checkout
from local.models.checkpoints import Habits
from local.stack.stack import Stack


def prepare_model(plan: Plan, habits: Habits, screen: Screen) -> Path | None:
    """Return the tiny model's checkpoint, made once by a child; None for the one that a stack makes for itself."""
    if plan.name != "tiny":
        return None
    folder = find_base_model().with_name(f"{plan.name}-{habits}")
    command = [sys.executable, "-m", "local.models.checkpoints", plan.name, str(folder), "--habits", habits]
    with screen.stage("prepare", "A tiny model is made, once for this checkout"):
        subprocess.run(command, cwd=find_checkout(), env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}, check=True)
    return folder


async def run_demo(
    plan: Plan, home: Path, port_base: int, seed: int, screen: Screen, scenario: str = "turn"
) -> dict[str, Any]:
    """Play the scenario once in `home`, which is made new; return the report.

    It is also in `home/report.json` and, as a page, in `home/report.html`.

    Raises:
        DemoFailed, StackFailed: what happened, in words.
    """
    started = time.monotonic()
    played = SCENARIOS[scenario]
    plan = replace(plan, service_settings={**plan.service_settings, **played.service_settings})
    if (home / "secrets.json").exists():
        Stack(home, port_base).down()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    base_model = prepare_model(plan, played.habits, screen)
    stack = Stack(home, port_base, environment=plan.service_settings, base_model=base_model, throwaway=True)
    with PeakMemory(home) as memory:
        try:
            with screen.stage("start", "Servers and services start, each its own process"):
                stack.up(screen.say)
                screen.say(
                    f"watch it at {stack.url('console')}, signed in with the admin key in {stack.layout.accounts}"
                )
            report = await _play(played, plan, stack, seed, screen)
        finally:
            with screen.stage("stop", "Everything stops, in order"):
                stack.down()
    report["timeline"] = screen.timeline.stages
    report["peak_pss_bytes"] = memory.peak
    report["seconds"] = screen.seconds | {"total": round(time.monotonic() - started, 1)}
    report["at"] = datetime.now(UTC).isoformat()
    (home / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    page = home / "report.html"
    page.write_text(render_page(report), encoding="utf-8")
    print_summary(report, page, screen)
    return report


async def _play(scenario: Scenario, plan: Plan, stack: Stack, seed: int, screen: Screen) -> dict[str, Any]:
    apis = Apis(stack.layout, stack.credentials | stack.make_rater_keys(plan.raters))
    try:
        stages = Stages(plan, apis, screen, seed, stack.layout.home / "datasets")
        async with Recorder(stack.layout, stack.credentials, screen.timeline) as recorder:
            came_of_it = await scenario.play(stages)
            recorded = await recorder.collect()
        log = stages.crowd.log
        summary = await apis.read("curator", "/v1/summary")
        story = await trace_click(apis, log, came_of_it["champion_after"])
        told = {"story": story, "sent_again": dict(apis.sent_again)}
        return describe_run(plan, scenario.name, seed, log, summary) | came_of_it | recorded | told
    finally:
        await apis.close()
