"""The whole loop on a real vLLM: two candidates after each other, each an adapter under a name of its own."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.demo.apis import Apis
from local.demo.plan import PLANS
from local.demo.screen import Screen
from local.demo.stages import Stages
from local.layout import find_base_model, find_checkout
from local.stack.stack import Stack
from tests.vllm.replica import KEY, Replica

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif("HELIOTROPE_TEST_VLLM" not in os.environ, reason="HELIOTROPE_TEST_VLLM names no vLLM"),
]
PATIENT = dict.fromkeys(PLANS["tiny"].seconds_for, 1_500.0)
PLAN = replace(PLANS["tiny"], concurrency=2, seconds_for=PATIENT)
"""vLLM answers faster than the curator takes in what more of them would say."""
WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def base() -> Path:
    """The tiny chat model, made once for this checkout."""
    folder = find_base_model().with_name("tiny-bad")
    command = [sys.executable, "-m", "local.models.checkpoints", "tiny", str(folder), "--habits", "bad"]
    subprocess.run(command, cwd=find_checkout(), check=True)
    return folder


@pytest.fixture(scope="module")
def replica(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A vLLM that serves the model under its folder's name, which trainer and evaluator load."""
    running = Replica(base, tmp_path_factory.mktemp("vllm") / "log", name=str(base))
    try:
        sys.stdout.write(f"vLLM answered after {running.start():.0f} s\n")
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def stack(
    replica: Replica, base: Path, tmp_path_factory: pytest.TempPathFactory, find_port_base: Callable[[], int]
) -> Iterator[Stack]:
    home, port_base = tmp_path_factory.mktemp("vllm-home"), find_port_base()
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o755)  # as root, Postgres may have to run as a user who must reach its folder
    settings = {
        "HELIOTROPE_MODEL_SERVER_URLS": replica.url,
        "HELIOTROPE_DEPLOYER_SERVING": "vllm",
        "HELIOTROPE_DEPLOYER_MODEL_SERVER_KEY": KEY,
        "HELIOTROPE_DEPLOYER_DRAIN_SECONDS": "5",
        "HELIOTROPE_DEPLOYER_GATEWAY_URLS": f"http://127.0.0.1:{port_base + 2}",
        "HELIOTROPE_GATEWAY_MODEL_SERVER_KEY": KEY,
        "HELIOTROPE_MONITOR_COOLDOWN_SECONDS": "1",
    }
    running = Stack(home, port_base, environment={**PLAN.service_settings, **settings}, base_model=base, throwaway=True)
    try:
        running.up(print)
        yield running
    finally:
        running.down()


def test_two_candidates_serve_one_after_the_other(stack: Stack, replica: Replica):
    asyncio.run(serve_two(stack, replica))


async def serve_two(stack: Stack, replica: Replica) -> None:
    apis = Apis(stack.layout, stack.credentials | stack.make_rater_keys(PLAN.raters), patience_seconds=WAIT_SECONDS)
    screen = Screen(Console(file=sys.stdout, width=160))
    stages = Stages(PLAN, apis, screen, 3, stack.layout.home / "datasets")
    try:
        adopted = await stages.find_champion()
        first = await turn_the_loop(stages)
        names = {first: f"heliotrope-v{first}"}
        assert replica.list_models() >= {names[first]}
        assert await ask(apis, first)

        replica.kill()
        sys.stdout.write(f"vLLM answered again after {replica.start():.0f} s\n")
        await wait_until(lambda: names[first] in replica.list_models(), "the adapter is put back")
        assert await ask(apis, first)

        await apis.request("deployer", "admin", "POST", "/v1/rollback", body={"reason": "a drill"})
        assert await stages.find_champion() == adopted
        await wait_until(lambda: names[first] not in replica.list_models(), "the old adapter is unloaded")
        assert await ask(apis, adopted)

        second = await turn_the_loop(stages)
        names[second] = f"heliotrope-v{second}"
        assert len({adopted, first, second}) == 3
        assert {names[second]} == replica.list_models() & set(names.values())
        assert await ask(apis, second)
    finally:
        await apis.close()


async def turn_the_loop(stages: Stages) -> str:
    """Chat, click, train, judge, approve and follow the canary; return the new champion."""
    request = await stages.listen()
    await stages.train(request["request_id"])
    await stages.evaluate(request["request_id"])
    await stages.approve(request["request_id"])
    rollout = await stages.follow_canary(request["request_id"])
    assert rollout["state"] == "champion", rollout["summary"]
    champion = await stages.find_champion()
    assert champion == rollout["candidate_version"]
    return champion


async def ask(apis: Apis, version: str) -> str:
    """Ask a version through the gateway; return its answer."""
    messages = [{"role": "user", "content": "Where is my parcel?"}]
    answer = await apis.chat(messages, user="somebody", max_tokens=24, version=version)
    assert answer.model_version == version
    sys.stdout.write(f"version {version}: {answer.text}\n")
    return answer.text


async def wait_until(look: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if look():
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"{what}: not within {WAIT_SECONDS:.0f} s")
