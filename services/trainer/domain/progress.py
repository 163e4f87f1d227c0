"""How far a run is, when it will be done, and what was done to it on the way."""

from collections.abc import Sequence

NOTES = 20
NOTE_CHARACTERS = 300


def add_note(notes: Sequence[str], note: str) -> list[str]:
    """The newest `NOTES` of them, each cut to `NOTE_CHARACTERS`."""
    return [*notes, note[:NOTE_CHARACTERS]][-NOTES:]


def calculate_seconds_left(step: int, total: int, *, first_step: int, seconds: float) -> float | None:
    """Time for the remaining steps at the pace since `first_step`; None before the first step of this attempt."""
    done = step - first_step
    if done <= 0:
        return None
    return (total - step) * seconds / done
