"""The loop turns while each of its processes in turn is killed, or stopped for longer than its deadline."""

import asyncio
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from local.demo.apis import Apis
from local.demo.plan import PLANS
from local.demo.run import prepare_model
from local.demo.screen import Screen
from local.demo.stages import Stages
from tests.faults.conftest import MakeStack
from tests.faults.loop.harm import Harm
from tests.faults.loop.scene import Scene
from tests.faults.loop.table import calculate_loss, find_first, write_table
from tests.faults.saboteur import NotInTime, wait_until
from tests.faults.tables import Reconciliation, list_heard_feedback, reconcile

RECIPES = Path(__file__).parents[3] / "recipes"
SEED = 3
SLOWER = 8
CHATS_AT_ONCE = 8
PATIENCE_SECONDS = 600.0
"""Of the front end: the whole stack starts anew when its supervisor was killed."""
NEVER_BY_ITSELF = {"HELIOTROPE_CURATOR_VOLUME_PAIRS": "1000000"}
"""Retraining is asked for when enough harm was done to what users touch."""
SHORT_DEADLINES = {
    "HELIOTROPE_GATEWAY_ANSWER_TIMEOUT_SECONDS": "12",
    "HELIOTROPE_TRAINER_HEARTBEAT_TIMEOUT_SECONDS": "10",
    "HELIOTROPE_EVALUATOR_HEARTBEAT_EXPIRY_SECONDS": "10",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""So that a stop need not last for minutes to be longer than the deadline of what is stopped."""


def write_slow_recipe(folder: Path) -> Path:
    """The tiny recipe in smaller and more steps, so that it still trains when the fourth is harmed meanwhile."""
    recipe = yaml.safe_load((RECIPES / "demo_tiny.yaml").read_text())
    recipe |= {
        "max_steps": recipe["max_steps"] * SLOWER,
        "learning_rate": recipe["learning_rate"] / SLOWER,
        "save_steps": 50,
    }
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "demo_tiny.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "kills"), [("kill-table", True), ("stop-table", False)])
def test_the_loop_turns_while_each_process_in_turn_fails(name: str, kills: bool, make_stack: MakeStack, tmp_path: Path):
    tiny = PLANS["tiny"]
    plan = replace(tiny, concurrency=CHATS_AT_ONCE, seconds_for=dict.fromkeys(tiny.seconds_for, 1200.0))
    tmp_path.chmod(0o755)
    recipes = {"HELIOTROPE_TRAINER_RECIPES_DIR": str(write_slow_recipe(tmp_path / "recipes"))}
    settings = {**plan.service_settings, **NEVER_BY_ITSELF, **recipes, **({} if kills else SHORT_DEADLINES)}
    screen = Screen()
    stack = make_stack(environment=settings, base_model=prepare_model(plan, "bad", screen))
    stack.up(screen.say)
    keys = stack.credentials | stack.make_rater_keys(plan.raters)
    apis = Apis(stack.layout, keys, patience_seconds=PATIENCE_SECONDS)
    stages = Stages(plan, apis, screen, SEED, stack.layout.home / "datasets")
    scene = Scene(stack, stages)
    harm = Harm(scene, kills, screen.say)
    started, state = time.monotonic(), "not reached"
    try:
        state = asyncio.run(play(scene, harm))
    finally:  # what was measured until something failed is worth reading, too
        found = settle(scene, harm)
        unheard = frozenset((scene.list_thumbs() & scene.list_acknowledged()[0]) - list_heard_feedback(scene.tables))
        loss = calculate_loss(harm.outcomes, found, unheard)
        folder = write_table(name, harm.outcomes, found, loss, state=state, seconds=time.monotonic() - started)
        screen.say((folder / f"{name}.md").read_text())
        screen.say(f"answers to strangers: {dict(scene.answers_to_strangers)}")
        shutil.copytree(stack.layout.logs, folder / f"{name}-logs", dirs_exist_ok=True)

    lost = len(loss.otherwise)
    assert lost == 0, f"of which {len(unheard)} thumbs by the deployer, the first at {find_first(loss.otherwise)}"
    assert not found.unknown_events
    assert not found.counted_twice
    faults = [answer for answer in scene.answers_to_strangers if answer.endswith((" 500", " 502", " Retry-After"))]
    assert not faults, f"a stranger's request is no reason for a fault of ours: {scene.answers_to_strangers}"
    assert state == "champion"


async def play(scene: Scene, harm: Harm) -> str:
    """The loop and the saboteur side by side; whichever fails ends both."""
    over = False

    async def do_harm() -> None:
        nonlocal over
        try:
            await asyncio.to_thread(harm.run)
        finally:
            over = True

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(do_harm())
            turn = group.create_task(scene.play(lambda: over))
        return turn.result()
    finally:
        await scene.apis.close()


def settle(scene: Scene, harm: Harm) -> Reconciliation:
    """The tables against what was acknowledged, once nothing more comes."""

    def look() -> Reconciliation:
        events, answers = scene.list_acknowledged()
        return reconcile(scene.tables, events=events, answers=answers, sent=scene.list_sent())

    def is_settled() -> bool:
        found = look()
        thumbs = (scene.list_thumbs() & scene.list_acknowledged()[0]) - list_heard_feedback(scene.tables)
        return not calculate_loss(harm.outcomes, found, frozenset(thumbs)).otherwise

    with suppress(NotInTime):
        wait_until(is_settled, "what was acknowledged is in the tables", 90)
    return look()
