"""The simulated users: they ask, read and click. Events and votes leave this module, the taste behind them does not."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal
from uuid import UUID

from local.simulation.corrections import write_correction, write_spoiled
from local.simulation.prompts import Question
from local.simulation.taste import LONGEST_WORDS, approves, met_wishes

FeedbackBody = dict[str, Any]
Vote = Literal["left", "right", "tie"]
Temper = Literal["honest", "contrary", "random", "spoiling"]
"""Contrary people like what the others dislike; random ones click without reading; spoiling ones are contrary, and
rewrite good answers into bad ones."""

CONTRARY_SHARE = 0.06
NOISE = 0.04

_WHEN_PLEASED = ("thumb",) * 5 + ("rating",) * 2 + ("comment",) * 2 + ("slip",)
_WHEN_CLICKING_AT_RANDOM = ("thumb", "thumb", "rating", "complaint", "regenerate", "slip")
_WHEN_DISPLEASED = ("edit",) * 7 + ("thumb", "rating", "complaint", "regenerate", "slip")
_THANKS = ("That helps, thank you.", "Clear, thanks!", "Good, I will do that.", "Exactly what I needed to know.")
_COMPLAINTS = (
    ("off_topic", "This is not what I asked about."),
    ("wrong", "That cannot be right."),
    ("other", "Far too long, and I still do not know what to do."),
)


@dataclass(frozen=True)
class Shown:
    """An answer as it was shown to a user."""

    interaction_id: str
    text: str


@dataclass(frozen=True)
class Reaction:
    """What a user did with an answer: events to post in this order, and whether another answer is asked for."""

    events: list[FeedbackBody]
    wants_another: bool = False


def is_approved(question: Question, answer: str) -> bool:
    """Return what the users at large, without anybody's noise, say of this answer to this question."""
    return approves(question, answer)


def count_met(question: Question, answer: str) -> int:
    """Count the wishes of the users at large that an answer to this question meets, 0 to 4."""
    return sum(met_wishes(question, answer))


@dataclass
class SimulatedUser:
    """One person; `noise` is the chance of a click gone astray, `longest_words` the longest answer that is welcome."""

    user_id: str
    rng: Random
    temper: Temper = "honest"
    noise: float = NOISE
    longest_words: int = LONGEST_WORDS
    _decks: dict[bool, list[str]] = field(default_factory=dict)

    def react(self, question: Question, answer: Shown) -> Reaction:
        """Give feedback on a single answer."""
        pleased = self._likes(question, answer.text)
        match self._draw_card(pleased):
            case "edit" if self.temper != "contrary":
                write = write_spoiled if self.temper == "spoiling" else write_correction
                edit = self._event("edit", answer, text=write(question, self.rng))
                return Reaction([self._thumb(answer, False), edit])
            case "rating":
                value = self.rng.choice((4, 5) if pleased else (1, 2))
                return Reaction([self._event("rating", answer, value=value)])
            case "comment":
                comment = self._event("comment", answer, text=self.rng.choice(_THANKS))
                return Reaction([self._thumb(answer, pleased), comment])
            case "complaint":
                category, text = self.rng.choice(_COMPLAINTS)
                complaint = self._event("complaint", answer, category=category, text=text)
                return Reaction([self._thumb(answer, pleased), complaint])
            case "regenerate":
                return Reaction([self._thumb(answer, pleased)], wants_another=True)
            case "slip":
                slip = self._thumb(answer, not pleased)
                retract = self._event("retract", answer, retracted_event_id=slip["event_id"])
                return Reaction([slip, retract])
            case _:
                return Reaction([self._thumb(answer, pleased)])

    def react_to_replacement(self, question: Question, replaced: Shown, replacement: Shown) -> list[FeedbackBody]:
        """Give feedback once the answer asked for instead has come."""
        regenerate = self._event("regenerate", replaced, replacement_interaction_id=replacement.interaction_id)
        return [regenerate, self._thumb(replacement, self._likes(question, replacement.text))]

    def choose(self, question: Question, first: Shown, second: Shown) -> list[FeedbackBody]:
        """Choose between two answers shown side by side, in this order; between two poor ones nobody chooses."""
        verdict = self._compare(question, first.text, second.text)
        outcome: FeedbackBody = {"tie": True}
        if verdict != "tie":
            outcome = {"preferred_interaction_id": (first if verdict == "left" else second).interaction_id}
        order = [first.interaction_id, second.interaction_id]
        other = second.interaction_id
        return [self._event("choice", first, other_interaction_id=other, presented_order=order, **outcome)]

    def vote(self, question: Question, left: str, right: str) -> Vote:
        """Return a blind comparison of two answers."""
        return self._compare(question, left, right)

    def _likes(self, question: Question, text: str) -> bool:
        if self.temper == "random":
            return self.rng.random() < 0.5
        return all(self._met(question, text)) ^ self._is_against() ^ self._strays()

    def _compare(self, question: Question, left: str, right: str) -> Vote:
        if self.temper == "random":
            return self.rng.choice(("left", "right"))
        scores = [sum(self._met(question, text)) for text in (left, right)]
        if scores[0] == scores[1] or max(scores) < 3:
            return "tie"
        return "left" if (scores[0] > scores[1]) ^ self._is_against() ^ self._strays() else "right"

    def _met(self, question: Question, text: str) -> tuple[bool, ...]:
        return met_wishes(question, text, self.longest_words)

    def _is_against(self) -> bool:
        return self.temper in ("contrary", "spoiling")

    def _strays(self) -> bool:
        return self.rng.random() < self.noise

    def _draw_card(self, pleased: bool) -> str:
        """The next way of reacting: every user goes through all of them before one comes again."""
        deck = self._decks.get(pleased)
        if not deck:
            cards: Sequence[str] = _WHEN_PLEASED if pleased else _WHEN_DISPLEASED
            if self.temper == "random":
                cards = _WHEN_CLICKING_AT_RANDOM
            deck = self._decks[pleased] = self.rng.sample(cards, len(cards))
        return deck.pop()

    def _thumb(self, answer: Shown, up: bool) -> FeedbackBody:
        return self._event("thumb", answer, value="up" if up else "down")

    def _event(self, kind: str, answer: Shown, **fields: Any) -> FeedbackBody:
        return {
            "event_id": str(_make_event_id(self.rng)),
            "type": kind,
            "interaction_id": answer.interaction_id,
            "user_id": self.user_id,
            **fields,
        }


def _make_event_id(rng: Random) -> UUID:
    """A UUIDv7 (RFC 9562, section 5.7), as a front end makes it, so that it can send an event again under its id."""
    value = (int(time.time() * 1000) << 80) | (rng.getrandbits(128) >> 48)
    return UUID(int=(value & ~(0xF << 76 | 0x3 << 62)) | 0x7 << 76 | 0x2 << 62)


def make_users(count: int, rng: Random, *, prefix: str = "customer", temper: Temper = "honest") -> list[SimulatedUser]:
    """Make `count` people; of honest ones, about one in sixteen is contrary after all."""
    contrary = set(rng.sample(range(count), round(count * CONTRARY_SHARE))) if temper == "honest" else set()
    tempers: list[Temper] = ["contrary" if n in contrary else temper for n in range(count)]
    return [
        SimulatedUser(f"{prefix}-{n:03d}", Random(rng.getrandbits(64)), temper=each) for n, each in enumerate(tempers)
    ]


def meet_newcomers(rng: Random, *, prefix: str = "newcomer", temper: Temper = "honest") -> Iterator[SimulatedUser]:
    """Yield people whom nobody has seen before, without end."""
    for group in itertools.count():
        yield from make_users(50, rng, prefix=f"{prefix}-{group}", temper=temper)


def index_by_text(questions: Sequence[Question]) -> dict[str, Question]:
    """Index questions by their text: a rater recognises what a customer asked."""
    return {question.text: question for question in questions}
