"""A crowd of simulated users at work: they chat through the gateway and click through ingest, several at a time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from local.demo.apis import Apis
from local.simulation.prompts import Question
from local.simulation.users import FeedbackBody, Shown, SimulatedUser, is_approved

SIDE_BY_SIDE_SHARE = 0.3


@dataclass
class ChatLog:
    """What was served and what was clicked, as the demo itself knows it."""

    chats: int = 0
    events: Counter[str] = field(default_factory=Counter)
    event_ids: list[str] = field(default_factory=list)
    clicks: dict[str, FeedbackBody] = field(default_factory=dict)
    """Event id -> the event as it was posted."""
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Interaction id -> what was asked, what was answered."""
    served: dict[str, str] = field(default_factory=dict)
    """Interaction id -> version that served it."""
    liked: dict[str, bool] = field(default_factory=dict)
    """Interaction id -> whether the users at large, without anybody's noise, like the answer."""
    thumbs: list[bool] = field(default_factory=list)
    """Every thumb in turn, true for up."""


@dataclass
class Crowd:
    """Users take turns; each turn is one question, one answer or two, and the clicks on them."""

    apis: Apis
    rng: Random
    max_tokens: int
    users: Iterator[SimulatedUser] = field(default_factory=lambda: iter(()))
    questions: Iterator[Question] = field(default_factory=lambda: iter(()))
    log: ChatLog = field(default_factory=ChatLog)

    async def run(self, concurrency: int, is_enough: Callable[[], bool], *, side_by_side: float) -> None:
        """Chat until it is enough, or until users or questions run out; turns that began are finished."""

        async def work() -> None:
            while not is_enough():
                user, question = next(self.users, None), next(self.questions, None)
                if user is None or question is None:
                    return
                await self._take_turn(user, question, side_by_side=side_by_side)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())

    async def _take_turn(self, user: SimulatedUser, question: Question, *, side_by_side: float) -> None:
        if self.rng.random() < side_by_side:
            first, second = await asyncio.gather(self._ask(user, question), self._ask(user, question))
            await self._click(user.choose(question, first, second))
            return
        answer = await self._ask(user, question)
        reaction = user.react(question, answer)
        await self._click(reaction.events)
        if reaction.wants_another:
            another = await self._ask(user, question)
            await self._click(user.react_to_replacement(question, answer, another))

    async def _ask(self, user: SimulatedUser, question: Question) -> Shown:
        answer = await self.apis.chat(question.messages, user=user.user_id, max_tokens=self.max_tokens)
        self.log.said[answer.interaction_id] = (question.text, answer.text)
        self.log.chats += 1
        self.log.served[answer.interaction_id] = answer.model_version
        self.log.liked[answer.interaction_id] = is_approved(question, answer.text)
        return Shown(answer.interaction_id, answer.text)

    async def _click(self, events: list[FeedbackBody]) -> None:
        self.log.clicks |= {event["event_id"]: event for event in events}
        if len(events) == 1:
            self.log.event_ids.append(await self.apis.send_feedback(events[0]))
        elif events:
            self.log.event_ids += await self.apis.send_feedback_batch(events)
        self.log.events.update(event["type"] for event in events)
        self.log.thumbs += [event["value"] == "up" for event in events if event["type"] == "thumb"]
