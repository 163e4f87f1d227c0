"""A made-up history of a support chat: the events that the curator's benchmark and fault runs feed it."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.events import (
    AnyFeedback,
    Choice,
    Complaint,
    Edit,
    FeedbackReceived,
    InteractionRecorded,
    Rating,
    Regenerate,
    Thumb,
)

START = datetime(2026, 11, 2, 8, tzinfo=UTC)
ITEMS = ("toaster", "kettle", "lamp", "rug", "desk", "chair", "mirror", "clock", "vase", "shelf", "radio", "fan")
PLACES = ("kitchen", "hall", "office", "garden", "attic", "cellar", "bedroom", "garage")
TROUBLES = ("stopped working", "came broken", "is the wrong colour", "never arrived", "is missing its screws", "hums")
OFFERS = ("a new one today", "your money back", "the missing part", "a courier tomorrow", "a voucher", "a repair")
SYSTEM = {"role": "system", "content": "You are the assistant of a household shop. Be brief, concrete and kind."}


def make_id(rng: random.Random, at: datetime) -> UUID:
    """Return a UUIDv7 of a seeded generator."""
    stamp = int(at.timestamp() * 1000) << 80
    return UUID(int=stamp | 0x7 << 76 | rng.getrandbits(12) << 64 | 0x2 << 62 | rng.getrandbits(62))


def make_history(prompts: int, seed: int) -> Iterator[InteractionRecorded | FeedbackReceived]:
    """Yield for each prompt two answers to one user and what that user says of them, in the order of time."""
    rng = random.Random(seed)
    for number in range(prompts):
        at = START + timedelta(seconds=number)
        user = f"{rng.randrange(max(1, prompts // 5)):032x}"
        question = (
            f"My {rng.choice(ITEMS)} for the {rng.choice(PLACES)}, order {seed}-{number}, {rng.choice(TROUBLES)}. "
            f"I have asked {rng.randrange(2, 9)} times now and would like to know what you can do about it this week."
        )
        one = _answer(rng, at, question, user)
        other = _answer(rng, at + timedelta(milliseconds=300), question, user)
        yield from (one, other)
        for feedback in _react(rng, one.interaction_id, other.interaction_id, other.answer):
            happened = at + timedelta(milliseconds=600 + rng.randrange(300))
            about = one.interaction_id if isinstance(feedback, Choice | Regenerate) else other.interaction_id
            if isinstance(feedback, Thumb) and feedback.value == "up":
                about = one.interaction_id
            yield FeedbackReceived(
                event_id=make_id(rng, happened),
                interaction_id=about,
                feedback=feedback,
                received_at=happened,
                key_id="shop",
                user=user,
            )


def _answer(rng: random.Random, at: datetime, question: str, user: str) -> InteractionRecorded:
    offers = rng.sample(OFFERS, 3)
    return InteractionRecorded(
        interaction_id=make_id(rng, at),
        messages=[SYSTEM, {"role": "user", "content": question}],
        answer=(
            f"I am sorry to hear that. We can offer you {offers[0]} or {offers[1]}, whichever you prefer. Please tell "
            f"us the number {rng.randrange(100, 999)} that is printed on the label, and we see to {offers[2]} as well."
        ),
        model_version="7",
        served_at=at,
        key_id="shop",
        user=user,
        prompt_tokens=80,
        completion_tokens=60,
        total_seconds=1.25,
        metadata={"channel": "web", "finish_reason": "stop"},
    )


def _react(rng: random.Random, one: UUID, other: UUID, text: str) -> list[AnyFeedback]:
    drawn = rng.random()
    if drawn < 0.35:
        preferred = rng.choice((one, other))
        return [Choice(other_interaction_id=other, presented_order=[one, other], preferred_interaction_id=preferred)]
    if drawn < 0.5:
        return [Edit(text=text.replace("I am sorry to hear that.", "We are sorry about this."))]
    if drawn < 0.7:
        return [Thumb(value="up"), Thumb(value="down")]
    if drawn < 0.8:
        return [Rating(value=rng.randint(1, 5))]
    if drawn < 0.9:
        return [Regenerate(replacement_interaction_id=other)]
    if drawn < 0.95:
        return [Complaint(category="wrong")]
    return [Thumb(value=rng.choice(("up", "down")))]
