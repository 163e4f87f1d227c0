"""A careful front end that serves its own answers: it reports each to ingest, and then what its user said of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from local.demo.apis import Apis
from local.stack.stack import Stack
from shared.ids import new_id

PAUSE_SECONDS = 0.02


@dataclass
class Caller:
    """Several conversations at once, until told to stop.

    `sent` holds every id from before its first request; `events` and `answers` those that were answered 202.
    """

    apis: Apis
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    sent: set[UUID] = field(default_factory=set)
    events: set[UUID] = field(default_factory=set)
    answers: set[UUID] = field(default_factory=set)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def calling(self, conversations: int = 4) -> AsyncIterator[None]:
        """Calls in the background; what is on its way at the end is finished."""
        async with asyncio.TaskGroup() as group:
            for number in range(conversations):
                group.create_task(self._talk(number))
            try:
                yield
            finally:
                self._stop.set()

    async def _talk(self, number: int) -> None:
        while not self._stop.is_set():
            await self._serve(f"customer-{number}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _serve(self, user: str) -> None:
        interaction_id, event_id = new_id(), new_id()
        interaction = {
            "interaction_id": str(interaction_id),
            "user_id": user,
            "messages": [{"role": "user", "content": f"Where is parcel {interaction_id}?"}],
            "answer": "It was sent this morning.",
            "model_version": "1",
            "served_at": datetime.now(UTC).isoformat(),
        }
        self.sent.add(interaction_id)
        await self.apis.request("ingest", "frontend", "POST", "/v1/interactions", body=interaction)
        self.answers.add(interaction_id)
        self.sent.add(event_id)
        thumb = {"event_id": str(event_id), "type": "thumb", "value": "up", "user_id": user}
        await self.apis.send_feedback(thumb | {"interaction_id": str(interaction_id)})
        self.events.add(event_id)


def call_while(stack: Stack, harm: Callable[[Caller], None]) -> Caller:
    """A front end at work while harm is done, in a thread."""

    async def run() -> Caller:
        apis = Apis(stack.layout, stack.credentials)
        caller = Caller(apis)
        try:
            async with caller.calling():
                await asyncio.to_thread(harm, caller)
        finally:
            await apis.close()
        return caller

    return asyncio.run(run())
