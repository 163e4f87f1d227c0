"""Training workers from zero, the curator on its lag, ingest on CPU: out under load, back after it, nothing lost."""

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.kubernetes.cluster import (
    HERE,
    PODS,
    RELEASE,
    SLIM,
    STRANGERS,
    ask,
    find_ended_run,
    find_pods,
    finish_pod,
    have_ended,
    is_ready,
    is_there,
    kubectl,
    say,
    start_pod,
    wait_for,
)
from tests.kubernetes.loading import INGEST
from tests.kubernetes.manual import run_line, upgrade

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(3600)]

SCALED = HERE / "scaled.yaml"
COOLDOWN_SECONDS = yaml.safe_load(SCALED.read_text())["keda"]["cooldownSeconds"]
COUNT = """
import os, sys
from sqlalchemy import create_engine, text
query = text("SELECT count(*) FROM curator.feedback WHERE CAST(event_id AS text) LIKE :pattern")
with create_engine(os.environ["HELIOTROPE_DATABASE_URL"]).connect() as connection:
    print(connection.execute(query, {"pattern": sys.argv[1] + "%"}).scalar_one())
"""


@pytest.fixture(scope="module")
def scaled(release: dict[str, str], workplace: Path, tools: dict[str, str]) -> dict[str, str]:
    """The release with scaling turned on; its keys."""
    if not is_there("crd", "scaledobjects.keda.sh"):
        pytest.skip("NOT SHOWN: the cluster has no KEDA")
    run_line(upgrade(f"-f {SCALED}"), workplace, tools)
    return release


def test_a_request_brings_a_worker_from_zero_and_the_end_of_its_run_takes_it_away(scaled: dict[str, str]):
    wait_for(lambda: not find_pods("trainer-worker") and have_ended(), "no worker where nothing is to be trained")
    started = time.monotonic()
    body = {"reason": "a drill", "force": True}
    request_id = ask("curator:8003", "/v1/retrain", scaled["admin"], body)["request_id"]
    worker = wait_for(lambda: find_pods("trainer-worker"), "a worker")[0]
    there = time.monotonic() - started
    names: set[str] = set()

    def has_ended() -> dict[str, Any] | None:
        names.update(pod["metadata"]["name"] for pod in find_pods("trainer-worker"))
        return find_ended_run(scaled, request_id)

    run = wait_for(has_ended, "the end of the run", seconds=900)
    ended = time.monotonic()
    wait_for(lambda: not find_pods("trainer-worker"), "no worker once the run has ended")
    gone = time.monotonic() - ended
    say(
        f"a worker after {there:.0f} s, the run ended ({run['state']}) after {ended - started:.0f} s on attempt "
        f"{run['fencing_token']}, no worker {gone:.0f} s later; cooldown {COOLDOWN_SECONDS} s"
    )
    assert run["state"] == "succeeded"
    assert run["fencing_token"] == 1, "nobody disturbed it"
    assert names == {worker["metadata"]["name"]}
    assert ended - started - there > 3 * COOLDOWN_SECONDS


def test_ingest_grows_with_its_load_and_the_curator_with_its_lag_and_nothing_is_lost(scaled: dict[str, str]):
    prefix = uuid4().hex[:8]
    environment = {"INGEST": INGEST, "KEY": scaled["frontend"]}
    script = (PODS / "flood.py").read_text()
    start_pod("flood", SLIM, script, prefix, namespace=STRANGERS, environment=environment)
    most = dict.fromkeys(("ingest", "curator"), 0)

    def have_grown() -> bool:
        for name in most:
            most[name] = max(most[name], sum(map(is_ready, find_pods(name))))
        return min(most.values()) > 1

    started = time.monotonic()
    try:
        wait_for(have_grown, "more than one of each", seconds=300)
    finally:
        kubectl("exec", "flood", "--", "touch", "/tmp/stop", namespace=STRANGERS)
    grown = time.monotonic() - started
    accepted = int(finish_pod("flood", namespace=STRANGERS))

    def count() -> int:
        return int(kubectl("exec", f"deploy/{RELEASE}-curator", "--", "python", "-c", COUNT, prefix))

    wait_for(lambda: count() == accepted, f"{accepted} events in the table", seconds=900)
    started = time.monotonic()
    wait_for(lambda: all(len(find_pods(name)) == 1 for name in most), "one of each again", seconds=600)
    say(
        f"{accepted} events accepted; {most} after {grown:.0f} s, one of each again "
        f"{time.monotonic() - started:.0f} s after all were stored"
    )
    assert count() == accepted
