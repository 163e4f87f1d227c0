"""Takes one world and one rule through whole rollouts, many at once."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.canary.worlds import LAG_USERS, Bools, Floats, Heard, Ints, Traffic, World

RUNNING, ROLLED_BACK, PROMOTED, ENDED = range(4)
MOST_USERS = 20_000
"""A rollout that has not ended by then counts as undecided."""
HOUR = 1 / 24


class Rule(Protocol):
    """A way to decide; `which` are the runs that are spoken of."""

    name: str

    def begin_stage(self, which: Ints) -> None:
        """Note that these runs enter a stage."""

    def hear(self, which: Ints, heard: Heard) -> None:
        """Take one block of each of these runs."""

    def decide(self, which: Ints, stages: Ints) -> tuple[Bools, Bools]:
        """Return which are to be rolled back, and which may advance."""


@dataclass(frozen=True)
class Plan:
    """What a rollout is like under a rule. `waits_days`: how long a user's outcome takes to be known."""

    stages: Sequence[float]
    holdback_percent: float = 5.0
    deadline_days: float | None = None
    minimum_days: float = HOUR
    waits_days: float = 0.0
    sees_late_votes_late: bool = True
    holdback_users: int = 0
    """How many users come after the promotion while the rule still watches."""


@dataclass
class Result:
    """How each run ended, how many canary users it served (since the harm began), and its days to 100%."""

    state: Ints
    canary_users: Ints
    since_onset: Floats
    weighed_since_onset: Floats
    days_to_full: Floats
    stage: Ints

    def share(self, state: int) -> float:
        return float((self.state == state).mean())

    def list_costs(self) -> Floats:
        """Return the canary users since the harm began of every run that was rolled back after that."""
        costs: Floats = self.since_onset[(self.state == ROLLED_BACK) & np.isfinite(self.since_onset)]
        return costs

    def split(self, parts: int) -> list["Result"]:
        """Return the runs in parts of one size."""
        columns = [np.array_split(getattr(self, each.name), parts) for each in fields(self)]
        return [Result(*part) for part in zip(*columns, strict=True)]


class Rollouts:
    """Many runs of one world under one rule."""

    def __init__(self, world: World, rule: Rule, plan: Plan, *, runs: int, seed: int) -> None:
        self.world, self.rule, self.plan = world, rule, plan
        self.traffic = Traffic(world, runs, np.random.default_rng(seed))
        self.state, self.stage, self.blocks = (np.zeros(runs, int) for _ in range(3))
        self.began, self.full = np.zeros(runs), np.full(runs, np.inf)
        self.began_users = np.zeros(runs, int)
        self.onset = np.full(runs, np.inf)
        self.last = len(plan.stages)
        self.shares = np.minimum([*plan.stages, 100.0], 100 - plan.holdback_percent) / 100

    def run(self) -> Result:
        while (which := np.flatnonzero(self.state == RUNNING)).size:
            self._step(which)
        waiting = self.plan.waits_days * self.world.users_per_day * self.shares[self.stage]
        canary = self.traffic.canary_users
        weighed = canary - self.onset
        return Result(self.state, canary, weighed + waiting, weighed, self.full, self.stage)

    def _step(self, which: Ints) -> None:
        stages, shares = self.stage[which], self.shares[self.stage[which]]
        self._note_onset(which, stages)
        heard = self.traffic.draw(which, stages, shares, self.blocks[which])
        self.rule.hear(which, self._delay(heard, which))
        self.blocks[which] += 1
        harmed, fine = self.rule.decide(which, stages)
        days = self.traffic.days(which) - self.began[which]
        held = stages == self.last
        fine = fine & (days >= self.plan.minimum_days) & ~held
        self._end(which[harmed], ROLLED_BACK)
        self._advance(which[fine & ~harmed])
        over = self.traffic.is_exhausted(which, shares) | (self.traffic.users[which] > MOST_USERS)
        if self.plan.deadline_days is not None:
            over |= days > self.plan.deadline_days
        self._end(which[over & ~harmed & ~fine & ~held], ENDED)
        since = self.traffic.users[which] - self.began_users[which]
        self._end(which[held & ~harmed & ((since >= self.plan.holdback_users) | over)], PROMOTED)

    def _note_onset(self, which: Ints, stages: Ints) -> None:
        world = self.world
        begun = (stages > world.onset_stage) | (
            (stages == world.onset_stage) & (self.blocks[which] >= world.onset_blocks)
        )
        new = which[begun & np.isinf(self.onset[which])]
        self.onset[new] = self.traffic.canary_users[new]

    def _delay(self, heard: Heard, which: Ints) -> Heard:
        """Take the canary's late votes out of the block, for good: whoever looks at once sees the others' only.

        Later blocks would bring as many as they lack: in each stage the first `LAG_USERS` canary users look worse.
        """
        if not self.plan.sees_late_votes_late or not any(self.world.late):
            return heard
        early = self.blocks[which] < LAG_USERS
        rng = self.traffic.rng
        ups = rng.binomial(heard.ups[1], 1 - self.world.late[0])
        downs = rng.binomial(heard.downs[1], 1 - self.world.late[1])
        heard.ups[1] = np.where(early, ups, heard.ups[1])
        heard.downs[1] = np.where(early, downs, heard.downs[1])
        return heard

    def _end(self, which: Ints, state: int) -> None:
        self.state[which] = state

    def _advance(self, which: Ints) -> None:
        self.stage[which] += 1
        self.blocks[which] = 0
        self.began[which] = self.traffic.days(which)
        self.began_users[which] = self.traffic.users[which]
        full = which[self.stage[which] == self.last - 1]
        self.full[full] = self.traffic.days(full)
        if not self.plan.holdback_users:
            self._end(which[self.stage[which] == self.last], PROMOTED)
        self.rule.begin_stage(which)
        self.traffic.begin_stage(which)


def median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if values.size else float("nan")
