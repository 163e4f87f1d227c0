"""A gateway killed at any moment loses no interaction whose answer's last byte was sent; a killed model is recorded."""

import asyncio
import random
from functools import partial

import pytest

from tests.faults.gateway.edge import Crowd, Edge, wait_until

USERS = 12


async def kill_now_and_then(edge: Edge, crowd: Crowd, kills: int, chance: random.Random) -> None:
    for _ in range(kills):
        enough = len(crowd.ended) + USERS
        await wait_until(partial(crowd.has_ended, enough))
        await asyncio.sleep(chance.uniform(0, 0.3))
        edge.gateway.kill()
        await asyncio.to_thread(edge.gateway.start)


async def chat_while(edge: Edge, kills: int, chance: random.Random) -> set[str]:
    """Ids of the answers whose last byte came to a user."""
    crowd = edge.make_crowd()
    chatting = asyncio.create_task(crowd.chat(USERS))
    await kill_now_and_then(edge, crowd, kills, chance)
    await wait_until(partial(crowd.has_ended, len(crowd.ended) + 1))  # it answers again
    crowd.leave()
    await chatting
    return {str(interaction_id) for interaction_id in crowd.ended}


def check_nothing_lost(edge: Edge, kills: int, chance: random.Random) -> None:
    ended = asyncio.run(chat_while(edge, kills, chance))
    edge.wait_until_relayed()
    answered = [str(event.interaction_id) for event in edge.read_topic() if event.error is None]
    assert len(ended) > kills * USERS
    assert ended - set(answered) == set()


def test_what_a_killed_gateway_had_answered_is_on_the_topic(edge: Edge):
    check_nothing_lost(edge, kills=2, chance=random.Random(7))


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ten_kills_in_a_row_lose_nothing(edge: Edge, seed: int):
    check_nothing_lost(edge, kills=10, chance=random.Random(seed))


def test_a_full_spool_is_counted_and_what_it_took_outlives_a_kill(edge: Edge):
    edge.gateway.stop()
    edge.gateway.environment |= {
        "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "HELIOTROPE_GATEWAY_SPOOL_MAX_ROWS": "5",
    }
    edge.gateway.start()
    ended = asyncio.run(chat_until(edge, answers=12))
    unrecorded = edge.read_metric("heliotrope_interactions_unrecorded_total")
    assert unrecorded == len(ended) - 5 > 0
    edge.gateway.kill()
    edge.gateway.environment["HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"] = edge.kafka_bootstrap
    edge.gateway.start()
    edge.wait_until_relayed()
    kept = {str(event.interaction_id) for event in edge.read_topic()}
    assert len(kept) == 5
    assert kept <= ended


async def chat_until(edge: Edge, answers: int) -> set[str]:
    crowd = edge.make_crowd()
    chatting = asyncio.create_task(crowd.chat(USERS))
    await wait_until(lambda: len(crowd.ended) >= answers)
    crowd.leave()
    await chatting
    return {str(interaction_id) for interaction_id in crowd.ended}


def test_a_killed_model_server_is_recorded_as_a_failure_of_every_answer_that_it_owed(edge: Edge):
    crowd = edge.make_crowd()

    async def kill_the_model() -> None:
        chatting = asyncio.create_task(crowd.chat(USERS))
        await wait_until(lambda: crowd.in_flight > 2)
        edge.model.kill()
        await wait_until(lambda: crowd.refused > USERS)
        crowd.leave()
        await chatting

    asyncio.run(kill_the_model())
    broken_off = {str(interaction_id) for interaction_id in crowd.broken}
    edge.wait_until_relayed()
    events = {str(event.interaction_id): event for event in edge.read_topic()}
    assert {str(interaction_id) for interaction_id in crowd.begun} <= set(events)
    assert broken_off
    assert {events[interaction_id].error for interaction_id in broken_off} == {"broken_off"}
    reasons = [event.error for event in events.values()]
    assert reasons.count("circuit_open") > 0
    assert set(reasons) <= {None, "broken_off", "unreachable", "circuit_open"}
    assert {event.model_version for event in events.values()} == {"1"}
