"""How far a try is, and how much of its budget is left."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from local.errors import StackFailed

UNITS = {"s": 1, "m": 60, "h": 3600}
LEAST_SECONDS = 10


def parse_budget(text: str) -> float:
    """Parse 90s, 20m or 1h as seconds. Raises: StackFailed: it is something else."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smh])", text.strip())
    if match is None or (seconds := float(match[1]) * UNITS[match[2]]) < LEAST_SECONDS:
        raise StackFailed(f"--budget {text!r} is no time of at least {LEAST_SECONDS} s, such as 90s, 20m or 1h")
    return seconds


@dataclass
class Clock:
    """Says each line with the time that has passed and the budget that it has passed of."""

    budget: float
    print_line: Callable[[str], None]
    now: Callable[[], float] = time.monotonic
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.now()

    @property
    def passed(self) -> float:
        return self.now() - self.started

    @property
    def left(self) -> float:
        return max(0.0, self.budget - self.passed)

    def say(self, line: str) -> None:
        self.print_line(f"[{_show(self.passed)} of {_show(self.budget)}] {line}")


def _show(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
