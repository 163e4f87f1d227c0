"""The whole loop over three secured brokers, one of which is killed in each of its stages.

Each service is a user of its own in Kafka, with the rights that `heliotrope topics --acls` grants and no other.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from local.demo.apis import Apis
from local.demo.plan import PLANS
from local.demo.run import prepare_model
from local.demo.screen import Screen
from local.demo.stages import Stages
from local.layout import OFFSETS
from local.servers.kafka_cluster import KafkaCluster
from local.stack.stack import Stack
from local.supervision.processes import Process
from shared.bus.access import SERVICES
from shared.bus.acls import grant, list_rights
from shared.bus.limits import open_admin
from tests.faults.conftest import make_stacks
from tests.faults.loop.scene import Scene
from tests.faults.loop.victims import CANARY, CHATTING, EVALUATING, TRAINING
from tests.faults.saboteur import NotInTime, wait_until
from tests.faults.tables import Reconciliation, list_heard_feedback, reconcile
from tests.kafka.conftest import Report

STAGES = {"users chat": CHATTING, "training": TRAINING, "evaluating": EVALUATING, "the canary serves": CANARY}
DOWN_SECONDS = 12.0
"""Longer than it takes the others to take over its partitions."""

READY_SECONDS = 600.0
"""Of a process, beside three brokers on the same two cores."""
BYSTANDERS = {"console", "chat-page"}


class StackOfUsers(Stack):
    """Its services speak to Kafka as themselves; what is no service has a user whom no broker knows."""

    users: ClassVar[Mapping[str, Mapping[str, str]]]

    def _give_secrets(self, process: Process) -> Process:
        given = super()._give_secrets(process)
        nobody = {"HELIOTROPE_KAFKA_SASL_USERNAME": "nobody", "HELIOTROPE_KAFKA_SASL_PASSWORD": "none"}
        known = self.users.get(process.name, nobody)
        return replace(given, environment={**given.environment, **known}, ready_seconds=READY_SECONDS)


def give_users(cluster: KafkaCluster, topic_prefix: str) -> type[Stack]:
    """Grant each service its rights; a stack of such services."""
    grant(open_admin(cluster.bootstrap_servers, cluster.security()), list_rights(topic_prefix))
    StackOfUsers.users = {service: cluster.environment(service) for service in SERVICES}
    return StackOfUsers


def kill_in_each_stage(scene: Scene, cluster: KafkaCluster) -> list[str]:
    """Kill one broker after another, each in another stage of the loop; the stages."""
    harmed = []
    for number, (stage, begins) in enumerate(STAGES.items()):
        wait_until(lambda begins=begins: scene.tables.holds(begins), stage, 600)  # type: ignore[misc]
        node = number % len(cluster.nodes) + 1
        scene.stages.screen.say(f"  broker {node} is killed: {stage}")
        cluster.kill(node)
        time.sleep(DOWN_SECONDS)
        cluster.start_node(node)
        harmed.append(stage)
    return harmed


async def play(scene: Scene, cluster: KafkaCluster) -> tuple[str, list[str]]:
    """The loop and the killing side by side; the rollout's last state, and the stages in which a broker died."""
    over = False

    async def do_harm() -> list[str]:
        nonlocal over
        try:
            return await asyncio.to_thread(kill_in_each_stage, scene, cluster)
        finally:
            over = True

    try:
        async with asyncio.TaskGroup() as group:
            harm = group.create_task(do_harm())
            turn = group.create_task(scene.play(lambda: over))
        return turn.result(), harm.result()
    finally:
        await scene.apis.close()


def settle(scene: Scene) -> tuple[Reconciliation, int]:
    """The tables against what was acknowledged, and how many thumbs the deployer never heard, once nothing comes."""

    def look() -> tuple[Reconciliation, int]:
        events, answers = scene.list_acknowledged()
        found = reconcile(scene.tables, events=events, answers=answers, sent=scene.list_sent())
        return found, len((scene.list_thumbs() & events) - list_heard_feedback(scene.tables))

    with suppress(NotInTime):
        wait_until(lambda: look()[0].is_clean and not look()[1], "what was acknowledged is in the tables", 90)
    return look()


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_the_loop_turns_while_a_broker_is_killed_in_each_of_its_stages(
    secured: KafkaCluster,
    topic_prefix: str,
    find_port_base: Callable[[], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    report: Report,
) -> None:
    tmp_path.chmod(0o755)
    kafka = secured.environment() | {"HELIOTROPE_TOPIC_PREFIX": topic_prefix}
    plan, screen, started = PLANS["tiny"], Screen(), time.monotonic()
    with make_stacks(find_port_base) as make_stack:
        for name, value in kafka.items():
            monkeypatch.setenv(name, value)
        stack = make_stack(
            kind=give_users(secured, topic_prefix),
            only=set(OFFSETS) - BYSTANDERS,
            environment={**plan.service_settings, **kafka},
            base_model=prepare_model(plan, "bad", screen),
        )
        stack.up(screen.say)
        keys = stack.credentials | stack.make_rater_keys(plan.raters)
        apis = Apis(stack.layout, keys, patience_seconds=300)
        scene = Scene(stack, Stages(plan, apis, screen, 3, stack.layout.home / "datasets"))
        try:
            state, harmed = asyncio.run(play(scene, secured))
            found, unheard = settle(scene)
        finally:
            shutil.copytree(stack.layout.logs, tmp_path / "logs")
        refused = apis.sent_again.total()
    report(
        f"a broker killed while {', '.join(harmed)}; {found.events} events and {found.answers} answers acknowledged, "
        f"{refused} requests sent again, in {time.monotonic() - started:.0f} s: lost {len(found.lost_events)} events, "
        f"{len(found.lost_answers)} answers, {unheard} thumbs unheard by the deployer; "
        f"twice {found.counted_twice}; {state}"
    )
    assert harmed == list(STAGES)
    assert found.is_clean, found
    assert unheard == 0
    assert state == "champion"
