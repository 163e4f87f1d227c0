"""Under load: a changed setting, every deployment restarted, a rollback: nothing fails, nothing is lost."""

import json
import time
from pathlib import Path

import pytest

from tests.kubernetes.cluster import (
    NAMESPACE,
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


def read_log_level() -> str | None:
    (pod,) = find_pods("gateway")
    environment = pod["spec"]["containers"][0]["env"]
    return next((each["value"] for each in environment if each["name"] == GATEWAY_SETTING), None)


def test_no_request_fails_over_an_upgrade_a_restart_of_everything_and_a_rollback(
    release: dict[str, str], workplace: Path, tools: dict[str, str]
):
    say_usage("at rest")
    with load(release) as seen:
        time.sleep(AFTER_SECONDS)
        started = time.monotonic()
        run_line(upgrade(f"--set settings.{GATEWAY_SETTING}=WARNING"), workplace, tools)
        say(f"upgraded within {time.monotonic() - started:.0f} s")
        assert read_log_level() == "WARNING"
        wait_for(have_ended, "the end of the pods of before")
        say_usage("under load")
        deployments = list_deployments()
        kubectl("rollout", "restart", *deployments)
        say(f"{len(deployments)} deployments restarted within {wait_for_rollout(*deployments):.0f} s")
        wait_for(have_ended, "the end of the pods of before")
        started = time.monotonic()
        run_line(f"helm rollback {RELEASE} -n {NAMESPACE} --wait --timeout 15m", workplace, tools)
        say(f"rolled back within {time.monotonic() - started:.0f} s")
        assert read_log_level() is None
        wait_for(have_ended, "the end of the pods of before")
        time.sleep(AFTER_SECONDS)
    seen.tell("a changed setting, every deployment restarted, a rollback")
    assert seen.report["longest_seconds"] > 55, "a stream of a minute went through"
    assert seen.report["failures"] == []
    assert (seen.lost, seen.twice) == (0, 0)
