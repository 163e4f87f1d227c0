"""The whole loop through docker-compose.yml, then what kills it, takes it back and wipes it; one after the other."""

import asyncio
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.credentials import name_rater
from local.demo.apis import Apis
from local.demo.plan import PLANS
from local.demo.screen import Screen
from local.demo.stages import Stages
from local.layout import Layout
from tests.containers.asking import PORT_BASE, ask, list_pairs, list_served, wait_for
from tests.containers.backup import back_up, restore
from tests.containers.engine import HERE, PROJECT, Composed, run

pytestmark = [pytest.mark.containers, pytest.mark.timeout(7200)]

PATIENT = replace(PLANS["tiny"], concurrency=4, seconds_for=dict.fromkeys(PLANS["tiny"].seconds_for, 2400.0))
SERVED = "tiny"
SAVED_AT = 40
"""The recipe stores a checkpoint at this step, of eighty."""


def test_every_container_is_healthy(compose: Composed, keys: dict[str, str]):
    states = compose.find_states()
    assert states.pop("prepare") == "exited"
    assert set(states.values()) <= {"healthy", "running"}, states


def test_a_service_is_refused_what_is_anothers(compose: Composed, keys: dict[str, str]):
    told = compose("exec", "-T", "ingest", "python", "-", source=HERE / "trespass.py")
    refused = ["NoPermissionError", "NoPermissionError", "TOPIC_AUTHORIZATION_FAILED", "_AUTHENTICATION"]
    assert told.split() == refused


def test_there_is_a_way_out_only_where_the_network_has_one(compose: Composed, keys: dict[str, str]):
    joined, internal = compose.find_networks()
    joined.pop("door", None)
    assert {name for names in joined.values() for name in names} == {f"{PROJECT}_default"}
    assert internal[f"{PROJECT}_default"] == compose.is_internal


def test_feedback_makes_a_champion(compose: Composed, keys: dict[str, str], model: Path):
    """Follows docs/operations.md: adopt, then the loop over HTTP."""
    mount = f"{model}:/model:ro"
    adopt = ("python", "-m", "services.deployer", "adopt", "--model", SERVED, "--files", "/model")
    told = compose("run", "--rm", "--no-deps", "-T", "--volume", mount, "deployer", *adopt)
    assert "is the champion" in told
    turned = asyncio.run(turn_the_loop(keys | make_rater_keys(compose)))
    assert turned["rollout"]["state"] == "champion"
    assert turned["after"] != turned["before"]


def make_rater_keys(compose: Composed) -> dict[str, str]:
    """A key for each of the plan's raters, by credential: one key is one rater."""
    create = f"for n in $(seq {PATIENT.raters}); do heliotrope keys create rater-$n --role rater; done"
    keys = re.findall(r"hk_[0-9a-f]{12}_\S{43}", compose.run_once("prepare", "sh", "-c", create))
    assert len(keys) == PATIENT.raters
    return {name_rater(number): key for number, key in enumerate(keys)}


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


def test_a_killed_trainer_goes_on_in_a_new_container_with_an_empty_volume(compose: Composed, keys: dict[str, str]):
    request = ask(keys, "curator", "/v1/retrain", role="admin", body={"reason": "a drill", "force": True})

    def find_run() -> dict[str, Any]:
        runs = ask(keys, "trainer", "/v1/runs")["runs"]
        return next((run for run in runs if run["request_id"] == request["request_id"]), {"progress": {}})

    wait_for(lambda: _read_step(find_run()) > SAVED_AT, "a step after the checkpoint")
    compose("kill", "trainer-worker")
    compose("rm", "--force", "trainer-worker")
    run("docker", "volume", "rm", f"{PROJECT}_worker")
    compose("up", "--detach", "--no-deps", "trainer-worker")
    wait_for(lambda: find_run()["progress"].get("phase") != "training", "a new worker takes the run up")
    first = wait_for(lambda: _read_step(find_run()), "the run goes on")
    assert first > SAVED_AT, "it goes on from the stored checkpoint"
    wait_for(lambda: find_run()["state"] == "succeeded", "the run ends")


def _read_step(training: dict[str, Any]) -> int:
    """Return the step that a run is at; 0 before the first and outside of training."""
    progress = training["progress"]
    return int(progress.get("step") or 0) if progress.get("phase") == "training" else 0


def test_a_restarted_model_server_is_given_its_adapters_back(compose: Composed, keys: dict[str, str]):
    champion = ask(keys, "deployer", "/v1/routing")["champion"]
    assert champion["version"] in list_served(keys)
    compose("kill", "vllm")
    compose("start", "vllm")
    assert wait_for(lambda: champion["version"] in list_served(keys), "an answer of the champion")


def test_a_rollback_brings_the_last_champion_back(keys: dict[str, str]):
    before = ask(keys, "deployer", "/v1/routing")["champion"]["version"]
    after = ask(keys, "deployer", "/v1/rollback", role="admin", body={"reason": "a drill"})["champion"]["version"]
    assert after != before
    assert wait_for(lambda: list_served(keys) == {after}, "an answer of the last champion", seconds=60)


def test_a_backup_brings_everything_back_after_a_wipe(compose: Composed, keys: dict[str, str], tmp_path: Path):
    champion, pairs = ask(keys, "deployer", "/v1/routing")["champion"], list_pairs(keys)
    back_up(compose, tmp_path / "backup")
    restore(compose, tmp_path / "backup")
    assert ask(keys, "deployer", "/v1/routing")["champion"] == champion
    assert list_pairs(keys) == pairs
    assert wait_for(lambda: champion["version"] in list_served(keys), "an answer of the champion")
