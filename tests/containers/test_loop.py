"""The whole loop through docker-compose.yml: chat, feedback, retraining, evaluation, approval, canary, champion."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.demo.apis import Apis
from local.demo.plan import PLANS
from local.demo.screen import Screen
from local.demo.stages import Stages
from local.layout import Layout
from tests.containers.conftest import PORT_BASE
from tests.containers.engine import Composed

pytestmark = [pytest.mark.containers, pytest.mark.timeout(7200)]

PATIENT = replace(PLANS["tiny"], concurrency=4, seconds_for=dict.fromkeys(PLANS["tiny"].seconds_for, 2400.0))
SERVED = "tiny"


def test_every_container_is_healthy(compose: Composed, keys: dict[str, str]):
    states = compose.find_states()
    assert states.pop("prepare") == "exited"
    assert set(states.values()) <= {"healthy", "running"}, states


def test_feedback_makes_a_champion(compose: Composed, keys: dict[str, str], model: Path):
    """Follows docs/operations.md: adopt, then the loop over HTTP."""
    mount = f"{model}:/model:ro"
    adopt = ("python", "-m", "services.deployer", "adopt", "--model", SERVED, "--files", "/model")
    told = compose("run", "--rm", "--no-deps", "-T", "--volume", mount, "deployer", *adopt)
    assert "is the champion" in told
    turned = asyncio.run(turn_the_loop(keys))
    assert turned["rollout"]["state"] == "champion"
    assert turned["after"] != turned["before"]


async def turn_the_loop(keys: dict[str, str]) -> dict[str, Any]:
    """Chat, click, train, judge, approve and follow the canary; return the rollout and the champions around it."""
    apis = Apis(Layout(Path("/nowhere"), PORT_BASE), keys, patience_seconds=300)
    try:
        stages = Stages(PATIENT, apis, Screen(Console(file=sys.stdout, width=160)), 3, Path("/nowhere"))
        before = await stages.find_champion()
        request = await stages.listen()
        await stages.train(request["request_id"])
        await stages.evaluate(request["request_id"])
        await stages.approve(request["request_id"])
        rollout = await stages.follow_canary(request["request_id"])
        return {"before": before, "after": await stages.find_champion(), "rollout": rollout}
    finally:
        await apis.close()
