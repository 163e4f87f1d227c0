"""A turn of the loop with its users, whom nothing but what services answer tells that something is wrong."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import httpx
from celery import Celery

from local.demo.apis import Apis
from local.demo.crowd import ChatLog, Crowd
from local.demo.stages import Stages
from local.simulation.users import meet_newcomers
from local.stack.stack import Stack
from tests.faults.saboteur import Saboteur
from tests.faults.tables import Tables

PASSERS_BY = 2
"""Chats at once of people who come and go from the first phase to the last."""


@dataclass
class Scene:
    """One stack and who is at work on it."""

    stack: Stack
    stages: Stages
    passers_by: Crowd = field(init=False)
    tables: Tables = field(init=False)
    saboteur: Saboteur = field(init=False)
    strangers: ChatLog = field(default_factory=ChatLog)
    """What clients with wrong clocks sent, and of that what was accepted."""
    answers_to_strangers: Counter[str] = field(default_factory=Counter)
    """By service and status."""

    def __post_init__(self) -> None:
        rng = Random(self.stages.seed + 1)
        self.passers_by = Crowd(self.stages.apis, rng=rng, max_tokens=self.stages.plan.max_tokens)
        self.passers_by.users = meet_newcomers(rng, prefix="passer-by")
        self.passers_by.questions = itertools.cycle(self.stages.live)
        self.tables = Tables(self.stack.connections.database_url)
        self.saboteur = Saboteur(self.stack)

    @property
    def apis(self) -> Apis:
        return self.stages.apis

    @property
    def _logs(self) -> tuple[ChatLog, ...]:
        return self.stages.crowd.log, self.passers_by.log, self.strangers

    def list_acknowledged(self) -> tuple[set[UUID], set[UUID]]:
        """Ids of the events that ingest took, and of the answers that users have read."""
        events = {UUID(event_id) for log in self._logs for event_id in list(log.event_ids)}
        answers = {UUID(answer) for log in self._logs for answer in list(log.served) if answer}
        return events, answers

    def list_sent(self) -> set[UUID]:
        return {UUID(event_id) for log in self._logs for event_id in list(log.clicks)}

    def list_thumbs(self) -> set[UUID]:
        return {
            UUID(event_id)
            for log in self._logs
            for event_id, event in list(log.clicks.items())
            if event["type"] == "thumb"
        }

    def wakes_worker(self) -> bool:
        """Whether the training worker answers a call through Valkey."""
        app = Celery(broker=self.stack.connections.redis_url)
        try:
            return bool(app.control.ping(timeout=2.0))
        except Exception:  # whatever Valkey's client makes of its absence
            return False
        finally:
            app.close()

    def reads_runs(self) -> bool:
        return self._answers(f"{self.stack.url('trainer')}/v1/runs", self.stack.credentials["ops"])

    def reads_model(self) -> bool:
        """Whether MLflow finds the champion in its tables."""
        url = f"{self.stack.connections.mlflow_tracking_uri}/api/2.0/mlflow/registered-models/alias"
        return self._answers(f"{url}?name=heliotrope&alias=champion")

    def _answers(self, url: str, key: str | None = None) -> bool:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        try:
            return httpx.get(url, headers=headers, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def ask_for_retraining(self) -> None:
        """What an admin does."""
        url = f"{self.stack.url('curator')}/v1/retrain"
        key = self.stack.credentials["admin"]
        httpx.post(
            url, json={"reason": "a fault run"}, headers={"authorization": f"Bearer {key}"}, timeout=180
        ).raise_for_status()

    async def play(self, is_over: Callable[[], bool]) -> str:
        """Chat until retraining is asked for, let the loop turn, chat until it is over; the rollout's last state."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.passers_by.run(PASSERS_BY, is_over, side_by_side=0.0))
            return await self._turn(is_over)

    async def _turn(self, is_over: Callable[[], bool]) -> str:
        stages = self.stages
        request_id = await self._chat_until_requested(is_over)
        await stages.train(request_id)
        await stages.evaluate(request_id)
        await stages.approve(request_id)
        return str((await stages.follow_canary(request_id))["state"])

    async def _chat_until_requested(self, is_over: Callable[[], bool]) -> str:
        found: dict[str, str] = {}

        async def watch() -> None:
            while not found and not is_over():
                found.update(await self.stages.find_new_request() or {})
                await asyncio.sleep(0.5)

        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            await self.stages.chat_until(lambda: bool(found) or is_over())
        return found["request_id"]
