"""Under load: another setting, everything restarted, a newer image, a rollback: nothing fails, nothing is lost."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kubernetes.cluster import (
    NAMESPACE,
    NEWER,
    RELEASE,
    find_pods,
    have_ended,
    kubectl,
    say,
    wait_for,
    wait_for_rollout,
)
from tests.kubernetes.loading import load
from tests.kubernetes.manual import run_line, upgrade
from tests.kubernetes.usage import say_usage

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(3600)]

AFTER_SECONDS = 15
GATEWAY_SETTING = "HELIOTROPE_LOG_LEVEL"


def list_deployments() -> list[str]:
    """All of the release that have a pod."""
    told = json.loads(kubectl("get", "deployments", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "json"))
    return [f"deployment/{each['metadata']['name']}" for each in told["items"] if each["spec"]["replicas"]]


def read_gateway() -> tuple[str | None, str]:
    """Return the log level that the gateway's settings name, and its image's tag."""
    (pod,) = find_pods("gateway")
    container = pod["spec"]["containers"][0]
    level = next((each["value"] for each in container["env"] if each["name"] == GATEWAY_SETTING), None)
    return level, container["image"].rpartition(":")[2].removesuffix("-edge")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long the body took; afterwards wait for the end of the pods of before."""
    started = time.monotonic()
    yield
    say(f"{what} within {time.monotonic() - started:.0f} s")
    wait_for(have_ended, "the end of the pods of before")


def test_no_request_fails_over_upgrades_a_restart_of_everything_and_a_rollback(
    release: dict[str, str], workplace: Path, tools: dict[str, str]
):
    _, tag = read_gateway()
    say_usage("at rest")
    with load(release) as seen:
        time.sleep(AFTER_SECONDS)
        with timed("upgraded to another setting"):
            run_line(upgrade(f"--set settings.{GATEWAY_SETTING}=WARNING"), workplace, tools)
        assert read_gateway() == ("WARNING", tag)
        say_usage("under load")
        deployments = list_deployments()
        with timed(f"{len(deployments)} deployments restarted"):
            kubectl("rollout", "restart", *deployments)
            wait_for_rollout(*deployments)
        with timed("upgraded to a newer image"):
            run_line(upgrade(f"--set image.tag={NEWER}"), workplace, tools)
        assert read_gateway() == (None, NEWER)
        with timed("rolled back"):
            run_line(f"helm rollback {RELEASE} -n {NAMESPACE} --wait --timeout 15m", workplace, tools)
        assert read_gateway() == ("WARNING", tag)
        time.sleep(AFTER_SECONDS)
    seen.tell("another setting, every deployment restarted, a newer image, a rollback")
    assert seen.report["longest_seconds"] > 55, "a stream of a minute went through"
    assert seen.report["failures"] == []
    assert (seen.lost, seen.twice) == (0, 0)
