"""The two versions that a rollout compares, and votes counted for each."""

from dataclasses import dataclass
from typing import Literal

Arm = Literal["champion", "canary"]
ARMS: tuple[Arm, Arm] = ("champion", "canary")


@dataclass(frozen=True)
class Counts:
    """Votes of one arm."""

    votes: int = 0
    ups: int = 0
