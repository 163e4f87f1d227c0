"""A history of which everything is known: what is right, and who was honest."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from bench.data.texts import Writer
from bench.noise.world import DAYS, START, Group, Item
from services.curator.pairs.domain.rules import Answer
from shared.events import AnyFeedback, Choice, Edit, FeedbackReceived, Rating, Thumb

Sides = tuple[str, str, str]
"""(prompt hash, what is preferred, over what)."""


@dataclass
class Story:
    """What happened, as the curator stores it, and the truth about it."""

    rng: random.Random
    writer: Writer
    audited: float = 0.0
    """Share of the votes that are choices between solicited answers."""
    winner_first: bool = False
    """Whether the front end names the preferred answer first."""
    key_id: str = "shop"
    groups: dict[str, Group] = field(default_factory=dict)
    solicited: set[UUID] = field(default_factory=set)
    truth: dict[Sides, bool] = field(default_factory=dict)
    pairs: list[tuple[Sides, bool]] = field(default_factory=list)
    """What was preferred each time, and whether by an honest user."""
    honest: set[UUID] = field(default_factory=set)
    colluding: set[UUID] = field(default_factory=set)
    held_out: list[Item] = field(default_factory=list)

    def vote(self, user: str | None, item: Item, *, right: bool, honest: bool = True, colludes: bool = False) -> None:
        """Let a user say which of an item's answers is better, as a choice, two thumbs or two ratings."""
        sides = (item.better, item.worse) if right else (item.worse, item.better)
        audit = self.rng.random() < self.audited
        kind = "choice" if audit else self.rng.choices(["choice", "thumbs", "ratings"], [5, 3, 2])[0]
        ids = self._serve(user, item.prompt_hash, sides)
        sayings = self._say(kind, ids)
        self._record(user, item.prompt_hash, sides, right, sayings, honest=honest, colludes=colludes, audit=audit)

    def edit(
        self, user: str | None, item: Item, text: str, *, right: bool, honest: bool = True, colludes: bool = False
    ) -> None:
        """Let a user put a text in the place of an item's worse answer."""
        sides = (text, item.worse)
        about = self._serve(user, item.prompt_hash, sides)[1]
        self._record(user, item.prompt_hash, sides, right, [(about, Edit(text=text))], honest=honest, colludes=colludes)

    def _serve(self, user: str | None, prompt_hash: str, texts: Sequence[str]) -> list[UUID]:
        ids = [self._draw_id() for _ in texts]
        group = self.groups.setdefault(prompt_hash, Group())
        for interaction_id, text in zip(ids, texts, strict=True):
            group.answers[interaction_id] = Answer(interaction_id, prompt_hash, text, "1", user)
        return ids

    def _say(self, kind: str, ids: list[UUID]) -> list[tuple[UUID, AnyFeedback]]:
        liked, disliked = ids
        if kind == "choice":
            order = ids if self.winner_first else self.rng.sample(ids, 2)
            return [
                (liked, Choice(other_interaction_id=disliked, preferred_interaction_id=liked, presented_order=order))
            ]
        if kind == "thumbs":
            return [(liked, Thumb(value="up")), (disliked, Thumb(value="down"))]
        return [(liked, Rating(value=self.rng.choice([4, 5]))), (disliked, Rating(value=self.rng.choice([1, 2])))]

    def _record(
        self,
        user: str | None,
        prompt_hash: str,
        sides: tuple[str, str],
        right: bool,
        sayings: Iterable[tuple[UUID, AnyFeedback]],
        *,
        honest: bool,
        colludes: bool,
        audit: bool = False,
    ) -> None:
        at = self._draw_time()
        self.truth[prompt_hash, *sides] = right
        self.pairs.append(((prompt_hash, *sides), honest))
        for about, feedback in sayings:
            event_id = self._draw_id()
            event = FeedbackReceived(
                event_id=event_id,
                interaction_id=about,
                feedback=feedback,
                received_at=at,
                key_id=self.key_id,
                user=user,
            )
            self.groups[prompt_hash].events.append(event)
            if honest:
                self.honest.add(event_id)
            if colludes:
                self.colluding.add(event_id)
            if audit:
                self.solicited.add(event_id)

    def _draw_time(self) -> datetime:
        if self.key_id != "shop":
            return START
        return START + timedelta(seconds=self.rng.randrange(DAYS * 86_400))

    def _draw_id(self) -> UUID:
        return UUID(int=self.rng.getrandbits(128), version=4)
