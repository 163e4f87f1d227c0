"""How far a long command is, and how long it will still take."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

EVERY_SECONDS = 10.0


@dataclass
class Progress:
    """Says a line every ten seconds; `share` is 0 to 1, of which `begun_at` was done before; always 0: not known."""

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _started: float = field(init=False)
    _said: float = field(init=False)
    _begun_at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._started = self._said = self.clock()

    def report(self, records: int, share: float) -> None:
        now = self.clock()
        self._begun_at = share if self._begun_at is None else self._begun_at
        if now - self._said < EVERY_SECONDS:
            return
        self._said = now
        done = share - self._begun_at
        left = (now - self._started) * (1 - share) / done if done > 0 else None
        rate = records / (now - self._started)
        known = f"{share:.0%}, " if share else ""
        self.say(f"{records:,} records, {known}{rate:,.0f} records/s{_describe_left(left)}")


def _describe_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"
