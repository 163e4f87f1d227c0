"""The loop as one picture: what each stage did last, and whether it moves, rests, or waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.console.domain.figures import calculate_share_interval, is_recent, tell_age, tell_percent

Mood = Literal["moving", "quiet", "waiting", "trouble", "empty"]
MOVING_SECONDS = 300
FEW_VOTES = 10


@dataclass(frozen=True)
class Stage:
    """A station of the loop. `figure` is its main number, `note` a line beneath."""

    title: str
    path: str
    figure: str
    note: str
    moved_at: datetime | None
    mood: Mood


@dataclass(frozen=True)
class Wait:
    """Something that waits for a person, and where they deal with it."""

    summary: str
    path: str


@dataclass(frozen=True)
class Praise:
    """The latest votes on the champion."""

    version: str
    ups: int
    votes: int
    since: datetime | None


def derive_mood(moved_at: datetime | None, now: datetime, *, waits: bool = False, failed: bool = False) -> Mood:
    """Return how a stage is to be shown."""
    if failed:
        return "trouble"
    if waits:
        return "waiting"
    if moved_at is None:
        return "empty"
    return "moving" if is_recent(moved_at, now, MOVING_SECONDS) else "quiet"


def describe_model(praise: Praise | None, now: datetime) -> str:
    """Say in one sentence how the model is doing."""
    if praise is None:
        return "No model serves yet: make one the first champion with `heliotrope adopt`."
    reign = f"Version {praise.version} is the champion" + (
        f", for {tell_age(praise.since, now).removesuffix(' ago')}" if praise.since else ""
    )
    if praise.votes == 0:
        return f"{reign}; nobody has voted on its answers yet."
    low, high = calculate_share_interval(praise.ups, praise.votes)
    told = f"{tell_percent(praise.ups / praise.votes)} of its latest {praise.votes:,} votes are praise"
    caution = "; too few to say much" if praise.votes < FEW_VOTES else ""
    return f"{reign}: {told} (95% interval {100 * low:.0f} to {100 * high:.0f}%){caution}."


def list_next_steps(stages: Sequence[Stage]) -> list[str]:
    """Tell a newcomer what to do while the loop is empty; nothing once answers and feedback have come."""
    steps = []
    if stages[0].mood == "empty":
        steps.append("Chat through the gateway with the frontend key: `make chat` opens a page for it.")
    if stages[1].mood == "empty":
        steps.append("Send feedback on an answer: a thumb on the chat page, or POST /v1/feedback to ingest.")
    return steps
