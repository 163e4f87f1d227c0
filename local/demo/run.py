"""The demo from an empty folder to its report."""

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.demo.apis import Apis
from local.demo.lineage import trace_back, trace_forward
from local.demo.memory import PeakMemory
from local.demo.plan import Plan
from local.demo.report import build_report, print_summary
from local.demo.screen import Screen
from local.demo.stages import Stages
from local.layout import find_base_model, find_checkout
from local.stack import Stack


def prepare_model(plan: Plan) -> Path | None:
    """The tiny model's checkpoint, made once by a child; None for the one that a stack makes for itself."""
    if plan.name != "tiny":
        return None
    folder = find_base_model().with_name(plan.name)
    subprocess.run([sys.executable, "-m", "local.models", plan.name, str(folder)], cwd=find_checkout(), check=True)
    return folder


async def run_demo(plan: Plan, home: Path, port_base: int, seed: int, screen: Screen) -> dict[str, Any]:
    """Run the loop once in `home`, which is made new; the report, which is also in `home/report.json`.

    Raises:
        DemoFailed, StackFailed: what happened, in words.
    """
    started = time.monotonic()
    if (home / "secrets.json").exists():
        Stack(home, port_base).down()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    stack = Stack(home, port_base, environment=plan.service_settings, base_model=prepare_model(plan), throwaway=True)
    with PeakMemory(home) as memory:
        try:
            with screen.stage("start", "Servers and services start, each its own process"):
                stack.up(screen.say)
            report = await _turn_the_loop(plan, stack, seed, screen)
        finally:
            with screen.stage("stop", "Everything stops, in order"):
                stack.down()
    report["peak_pss_bytes"] = memory.peak
    report["seconds"] = screen.seconds | {"total": round(time.monotonic() - started, 1)}
    report["at"] = datetime.now(UTC).isoformat()
    (home / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print_summary(report, home / "report.json", screen)
    return report


async def _turn_the_loop(plan: Plan, stack: Stack, seed: int, screen: Screen) -> dict[str, Any]:
    apis = Apis(stack.layout, stack.credentials)
    try:
        before = (await apis.read("deployer", "/v1/routing"))["champion"]["version"]
        stages = Stages(plan, apis, screen, seed)
        request = await stages.listen()
        await stages.train(request["request_id"])
        evaluation = await stages.evaluate(request["request_id"])
        await stages.approve(request["request_id"])
        rollout = await stages.follow_canary(request["request_id"])
        after = (await apis.read("deployer", "/v1/routing"))["champion"]["version"]
        rise, answered = await stages.measure(before, after)
        heard = stages.crowd.heard
        served_by_new = [interaction for interaction, version in heard.served.items() if version == after]
        back = await trace_back(apis, served_by_new, heard.event_ids)
        forward = await trace_forward(apis, heard.event_ids, after)
        summary = await apis.read("curator", "/v1/summary")
        return build_report(
            plan=plan,
            seed=seed,
            versions=(before, after),
            request=request,
            evaluation=evaluation,
            rollout=rollout,
            rise=rise,
            answered=answered,
            lineage=(back, forward),
            heard=heard,
            summary=summary,
        )
    finally:
        await apis.close()
