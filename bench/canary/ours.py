"""Heliotrope's rule, for many runs at once: the domain's arithmetic, written a second time for arrays."""

from dataclasses import dataclass, field

import numpy as np

from bench.canary.worlds import Bools, Floats, Heard, Ints
from services.deployer.domain.evidence import LEAST, LOSSES, MOST
from services.deployer.domain.limits import Limits

ROLLBACK = ("outcome", "errors", "latency")
LAWS = (*ROLLBACK, "advance")
Level = tuple[float | tuple[float, float], Ints]
"""A value (the champion's and the canary's may differ), and how many users of each arm and run had it."""


def list_levels(heard: Heard, limits: Limits) -> dict[str, list[Level]]:
    """Return each test's values and how often they occurred in a block."""
    silent = heard.users - heard.ups - heard.downs
    said, unsaid, delta = limits.delta, limits.silence, limits.delta

    def lack(value: float, handicap: float) -> float:
        return 1 - (value - handicap + delta) / (1 + delta)

    return {
        "outcome": [(1.0, heard.ups), (unsaid, silent), (0.0, heard.downs)],
        "errors": [(1.0, heard.users - heard.failed), (0.0, heard.failed)],
        "latency": [(1.0, heard.users - heard.slow), (0.0, heard.slow)],
        "advance": [
            ((lack(1.0, said), lack(1.0, 0)), heard.ups),
            (lack(unsaid, 0), silent),
            ((lack(0.0, said), lack(0.0, 0)), heard.downs),
        ],
    }


@dataclass
class Ours:
    """State of every run; arrays are [test, alternative, run] or [test, run]."""

    limits: Limits
    runs: int
    name: str = "ours"
    wealth: Floats = field(init=False)
    seen: Floats = field(init=False)
    sums: Floats = field(init=False)
    blocks: Ints = field(init=False)
    found: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.wealth = np.zeros((len(LAWS), len(LOSSES), self.runs))
        self.seen, self.sums = np.zeros((len(LAWS), self.runs)), np.zeros((len(LAWS), self.runs))
        self.blocks = np.zeros(self.runs, int)
        self.thresholds = [1 / self._alpha(name) for name in ROLLBACK]

    def _alpha(self, name: str) -> float:
        guardrail = next(one for one in self.limits.guardrails if one.name == name)
        return self.limits.calculate_alpha(guardrail)

    def begin_stage(self, which: Ints) -> None:
        self.wealth[:, :, which] = 0
        self.seen[:, which] = self.sums[:, which] = self.blocks[which] = 0

    def hear(self, which: Ints, heard: Heard) -> None:
        self._start(which)
        for test, levels in enumerate(list_levels(heard, self.limits).values()):
            self._weigh(test, which, heard.users, levels)
        self.blocks[which] += 1

    def _start(self, which: Ints) -> None:
        block, schedule = self.blocks[which], self.limits.schedule
        weight = np.zeros(block.size)
        for place in np.flatnonzero(block % schedule.spacing == 0):
            weight[place] = schedule.weigh_start(int(block[place])) / len(LOSSES)
        self.wealth[:-1, :, which] += weight
        self.wealth[-1, :, which] += np.where(block == 0, 1 / len(LOSSES), 0)[:, None]

    def _weigh(self, test: int, which: Ints, users: Ints, levels: list[Level]) -> None:
        rate = np.clip((self.sums[test, which] + 0.5) / (self.seen[test, which] + 1), LEAST, MOST)
        other = rate * (1 - np.array(LOSSES)[:, None])
        pooled = (users[0] * rate + users[1] * other) / users.sum(axis=0)
        spread = pooled * (1 - pooled)
        log_factor = np.zeros(pooled.shape)
        for arm, mean in enumerate((rate, other)):
            bet = (mean - pooled) / spread
            for value, counts in levels:
                level = value[arm] if isinstance(value, tuple) else value
                log_factor += counts[arm] * np.log1p((level - pooled) * bet)
        self.wealth[test][:, which] = np.minimum(self.wealth[test][:, which] * np.exp(log_factor), 1e250)
        self.seen[test, which] += users[0]
        for value, counts in levels:
            self.sums[test, which] += (value[0] if isinstance(value, tuple) else value) * counts[0]

    def decide(self, which: Ints, stages: Ints) -> tuple[Bools, Bools]:
        """Return which runs are to be rolled back, and which may advance, as booleans."""
        e_values = self.wealth[:, :, which].sum(axis=1)
        harmed = np.zeros(which.size, bool)
        for test, threshold in enumerate(self.thresholds):
            harmed |= e_values[test] >= threshold
        alphas = np.array(
            [self.limits.calculate_advance_alpha(stage) for stage in range(len(self.limits.stages))] + [1.0]
        )
        needed = 1 / alphas[stages]
        return harmed, (needed <= 1) | (e_values[-1] >= needed)
