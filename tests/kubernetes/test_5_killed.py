"""Pods killed at random, the database's included: nothing acknowledged is lost, and the loop goes on."""

import os
import random
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.kubernetes.cluster import (
    NAMESPACE,
    RELEASE,
    STORES,
    ask,
    find_pods,
    is_ready,
    kubectl,
    say,
    wait_for,
    wait_for_rollout,
)
from tests.kubernetes.loading import load
from tests.kubernetes.manual import run_line, upgrade

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(3600)]

KILL_SECONDS = float(os.environ.get("HELIOTROPE_TEST_KILL_SECONDS", "600"))
PAUSE_SECONDS = 8.0
SEED = 24
STATEFUL = "--set services.gateway.kind=StatefulSet"
"""What the manual names for answers that outlive their pod's own end by SIGKILL."""
VICTIMS = ("ingest", "gateway", "curator", "drift-monitor", "deployer", "evaluator", "trainer", "vllm")
STORE_VICTIMS = ("postgres", "redis", "kafka")


def kill(name: str, namespace: str) -> None:
    """Kill a pod without a word of warning."""
    kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false", namespace=namespace)


def kill_one(draw: random.Random) -> str:
    """Kill a pod that is drawn; return its component."""
    victim = draw.choice([*VICTIMS, *STORE_VICTIMS])
    if victim in STORE_VICTIMS:
        for name in kubectl("get", "pods", "-l", f"app={victim}", "-o", "name", namespace=STORES).split():
            kill(name.removeprefix("pod/"), STORES)
    elif pods := find_pods(victim):
        kill(draw.choice(pods)["metadata"]["name"], NAMESPACE)
    return victim


def is_whole(component: str) -> bool:
    """Tell whether a service has pods, all of them ready."""
    pods = find_pods(component)
    return bool(pods) and all(map(is_ready, pods))


def read_routes(keys: dict[str, str]) -> dict[str, str]:
    """Return the versions that users are answered by: the champion's, and those of a holdback and a canary."""
    table = ask("deployer:8004", "/v1/routing", keys["ops"])
    return {arm: table[arm]["version"] for arm in ("champion", "holdback", "canary") if table.get(arm)}


def test_nothing_is_lost_while_pods_are_killed_and_the_loop_goes_on(
    release: dict[str, str], workplace: Path, tools: dict[str, str]
):
    run_line(upgrade(STATEFUL), workplace, tools)
    wait_for_rollout(f"statefulset/{RELEASE}-gateway")
    routes = read_routes(release)
    draw = random.Random(SEED)
    killed: Counter[str] = Counter()
    with load(release) as seen:
        ends = time.monotonic() + KILL_SECONDS
        while time.monotonic() < ends:
            time.sleep(PAUSE_SECONDS)
            killed[kill_one(draw)] += 1
        wait_for_rollout("statefulset/postgres", "statefulset/kafka", "deployment/redis", namespace=STORES)
        for name in VICTIMS:
            wait_for(partial(is_whole, name), name, seconds=600)
        time.sleep(30)
    say(f"killed without a word, {sum(killed.values())} times in {KILL_SECONDS:.0f} s: {dict(killed)}")
    seen.tell("pods killed at random")
    assert (seen.lost, seen.twice) == (0, 0)
    assert read_routes(release) == routes
    assert set(seen.report["versions"]) <= set(routes.values()), "nobody was answered by another model"
    run_line(f"helm test {RELEASE} -n {NAMESPACE} --logs", workplace, tools)
