"""A made-up shop whose users' true preferences are known, for `make bench-noise`.

An answer is 24 words. Its true worth is the sum of what its words are worth, plus something that no word shows. A vote
is about two answers to one prompt, cast as a choice, as two thumbs or as two ratings; 40% of the prompts are judged by
three users, the rest by one. Unreliable users say the opposite of the truth at a stated rate.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.curator.pairs.domain.rules import Answer
from shared.events import AnyFeedback, Choice, FeedbackReceived, Rating, Thumb

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
SYLLABLES = ("ba", "de", "fo", "gu", "ki", "lom", "nap"), ("ra", "ti", "lo", "mu", "ne", "so", "vi", "ka", "zu", "pe")
WORDS = [f"{one}{two}{end}" for one in SYLLABLES[0] for two in SYLLABLES[1] for end in ("", "n")]
ANSWER_WORDS = 24
HIDDEN_WORTH = 1.5
"""Standard deviation of what no word shows; a word's is 1."""
SHARED_PROMPTS = 0.4
OVERLAP = 3
USERS = 100
PROMPTS = 600
FLIPS = {"contrary": 0.8, "careless": 0.5}
"""Share of the cases in which an unreliable user of this kind says the opposite of the truth."""


@dataclass(frozen=True)
class Item:
    """A prompt with two answers, the better one first."""

    number: int
    better: str
    worse: str

    @property
    def prompt_hash(self) -> str:
        return f"{self.number:064x}"


@dataclass(frozen=True)
class Vote:
    user: str
    item: Item
    right: bool
    at: datetime
    kind: str

    @property
    def sides(self) -> tuple[str, str]:
        """(what it prefers, over what)."""
        return (self.item.better, self.item.worse) if self.right else (self.item.worse, self.item.better)


@dataclass
class World:
    rng: random.Random
    worth: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.worth = {word: self.rng.gauss(0, 1) for word in WORDS}

    def make_items(self, count: int, first: int = 0) -> list[Item]:
        return [self._make_item(first + number) for number in range(count)]

    def _make_item(self, number: int) -> Item:
        answers = sorted((self._write() for _ in range(2)), reverse=True)
        return Item(number, answers[0][1], answers[1][1])

    def _write(self) -> tuple[float, str]:
        words = self.rng.sample(WORDS, ANSWER_WORDS)
        return sum(self.worth[word] for word in words) + self.rng.gauss(0, HIDDEN_WORTH), " ".join(words)

    def cast_votes(self, items: Sequence[Item], flips: Mapping[str, float]) -> list[Vote]:
        """Cast votes by users drawn at random for each item; `flips` is how often a user says the opposite of the
        truth.
        """
        names = [f"user-{number}" for number in range(USERS)]
        return [
            self.vote(user, item, right=self.rng.random() >= flips.get(user, 0.0))
            for item in items
            for user in self.rng.sample(names, OVERLAP if self.rng.random() < SHARED_PROMPTS else 1)
        ]

    def vote(self, user: str, item: Item, *, right: bool) -> Vote:
        at = START + timedelta(seconds=self.rng.randrange(DAYS * 86_400))
        return Vote(user, item, right, at, self.rng.choices(["choice", "thumbs", "ratings"], [5, 3, 2])[0])

    def draw_users(self, share: float) -> list[str]:
        return self.rng.sample([f"user-{number}" for number in range(USERS)], round(share * USERS))


@dataclass(frozen=True)
class Scene:
    """A history before any attack."""

    world: World
    votes: list[Vote]
    unreliable: frozenset[str]

    @classmethod
    def draw(cls, seed: int, wrong: float, flip: float) -> "Scene":
        world = World(random.Random(seed))
        items = world.make_items(PROMPTS)
        unreliable = world.draw_users(wrong / flip)
        return cls(world, world.cast_votes(items, dict.fromkeys(unreliable, flip)), frozenset(unreliable))


@dataclass
class Group:
    """One prompt's interactions and feedback, as the curator stores them."""

    answers: dict[UUID, Answer] = field(default_factory=dict)
    events: list[FeedbackReceived] = field(default_factory=list)


def record(votes: Iterable[Vote], rng: random.Random) -> dict[str, Group]:
    """Return the groups by prompt: each voter was served both answers, and said which is better."""
    groups: dict[str, Group] = {}
    for vote in votes:
        group = groups.setdefault(vote.item.prompt_hash, Group())
        ids = [_draw_id(rng), _draw_id(rng)]
        for interaction_id, text in zip(ids, vote.sides, strict=True):
            group.answers[interaction_id] = Answer(interaction_id, vote.item.prompt_hash, text, "1", vote.user)
        for about, feedback in _say(vote.kind, ids, rng):
            event = FeedbackReceived(
                event_id=_draw_id(rng),
                interaction_id=about,
                feedback=feedback,
                received_at=vote.at,
                key_id="shop",
                user=vote.user,
            )
            group.events.append(event)
    return groups


def merge(*histories: Mapping[str, Group]) -> dict[str, Group]:
    merged: dict[str, Group] = {}
    for groups in histories:
        for prompt_hash, group in groups.items():
            into = merged.setdefault(prompt_hash, Group())
            into.answers |= group.answers
            into.events += group.events
    return merged


def _say(kind: str, ids: list[UUID], rng: random.Random) -> list[tuple[UUID, AnyFeedback]]:
    liked, disliked = ids
    if kind == "choice":
        order = rng.sample(ids, 2)
        return [(liked, Choice(other_interaction_id=disliked, preferred_interaction_id=liked, presented_order=order))]
    if kind == "thumbs":
        return [(liked, Thumb(value="up")), (disliked, Thumb(value="down"))]
    return [(liked, Rating(value=rng.choice([4, 5]))), (disliked, Rating(value=rng.choice([1, 2])))]


def _draw_id(rng: random.Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)
