"""Votes of a made-up shop whose truth is known, as the evidence of a snapshot."""

import random
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from services.curator.pairs.domain.rules import CHOICE, Rule
from services.curator.weighing.domain.history import FeedbackRecord, History, PairEvidence
from tests.builders import MORNING

GOOD = ["order", "number", "courier", "friday", "sorry", "refund", "parcel", "address"]
BAD = ["model", "nothing", "cannot", "whatever", "maybe", "ask", "elsewhere", "bye"]


def make_item(number: int) -> tuple[str, str, str]:
    """(prompt hash, the better answer, the worse one)."""
    rng = random.Random(number)
    return f"{number:064x}", " ".join(rng.sample(GOOD, 5)), " ".join(rng.sample(BAD, 5))


def vote(
    event: int,
    user: str | None,
    item: int,
    *,
    right: bool = True,
    rule: Rule = CHOICE,
    solicited: bool = False,
    first: bool = True,
    minute: int | None = None,
    key_id: str = "shop",
) -> tuple[PairEvidence, FeedbackRecord]:
    """A pair and the event it rests on; `first` says whether the preferred answer was shown first."""
    prompt_hash, better, worse = make_item(item)
    chosen, rejected = (better, worse) if right else (worse, better)
    ids = UUID(int=10 * event + 1), UUID(int=10 * event + 2)
    event_id = UUID(int=10 * event)
    pair = PairEvidence(
        f"pair-{event:06d}",
        prompt_hash,
        "train",
        chosen,
        rejected,
        rule.name,
        rule.version,
        rule.epsilon,
        (event_id,),
        ids[0],
        ids[1],
        "1",
        "1",
    )
    at = MORNING + timedelta(minutes=event if minute is None else minute)
    first_id = ids[0] if first else ids[1]
    return pair, FeedbackRecord(event_id, user, at, first=first_id, solicited=solicited, key_id=key_id)


def make_history(votes: Iterable[tuple[PairEvidence, FeedbackRecord]]) -> History:
    cast = list(votes)
    return History([pair for pair, _ in cast], [], {said.event_id: said for _, said in cast}, {})


def make_crowd(seed: int = 0, contrary: int = 4, users: int = 20, votes: int = 30, flip: float = 0.9) -> History:
    """Every user votes on items of a small pool; the first few say the opposite of the truth nine times in ten, or as
    often as `flip` says."""
    rng = random.Random(seed)
    return make_history(
        vote(
            100 * user + number,
            f"user{user:02d}",
            item,
            right=rng.random() >= (flip if user < contrary else 0.02),
            first=rng.random() < 0.5,
        )
        for user in range(users)
        for number, item in enumerate(rng.sample(range(120), votes))
    )
