"""Traffic with a known truth: how much users like either version, when, and where else harm may be."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
SEASON_DAYS = 1.0
LAG_USERS = 100
"""After how many further users of a block's stage the votes of those who vote late come in."""


@dataclass(frozen=True)
class World:
    """One story. Rates are of users who like what they get, of those who say anything."""

    name: str
    kind: Literal["null", "harm", "good", "unclear"]
    effect: float = 0.0
    champion: float = 0.8
    users_per_day: float = 6_000
    respond: tuple[float, float] = (1.0, 1.0)
    """Share of the champion's and of the canary's users who say something."""
    errors: tuple[float, float] = (0.01, 0.01)
    slow: tuple[float, float] = (0.1, 0.1)
    outage: float = 0.0
    """Share of answers that fail in both arms while users 2,000 to 6,000 come."""
    season: float = 0.0
    """Swing of the common rate over a day."""
    drift: float = 0.0
    """What the common rate loses over 20,000 users."""
    novelty: float = 0.0
    """What the canary gains at first; it halves every 300 of its users."""
    onset_stage: int = 0
    """Stage from which the effect holds."""
    onset_blocks: int = 0
    """After how many blocks of that stage."""
    before: float = 0.0
    """Effect before the onset."""
    late: tuple[float, float] = (0.0, 0.0)
    """Share of the canary's users who vote late, of those who praise and of those who blame."""
    tastes: float = 0.0
    """Standard deviation of what teams of ten like; users keep their taste from stage to stage."""
    population: int = 0
    """How many users there are; each counts once in a stage. 0: more than come."""


WORLDS = (
    World("equal, large", "null", users_per_day=30_000),
    World("equal, small", "null", users_per_day=300),
    World("equal, one in five says something", "null", respond=(0.2, 0.2)),
    World("equal, rate .50", "null", champion=0.5),
    World("equal, daily seasons", "null", season=0.1),
    World("equal, falling rate", "null", drift=0.2),
    World("equal, outage of both", "null", outage=0.4),
    World("equal, teams, users come back", "null", tastes=0.18, population=6_000),
    World("equal, canary praised late", "null", late=(0.9, 0.5)),
    World("novelty, then equal", "null", novelty=0.1),
    World("broken, -.50", "harm", effect=-0.5),
    World("broken, -.50, small", "harm", effect=-0.5, users_per_day=300),
    World("broken, -.50, large", "harm", effect=-0.5, users_per_day=30_000),
    World("harm, -.20", "harm", effect=-0.2),
    World("harm, -.10", "harm", effect=-0.1),
    World("harm in one cluster of five, -.50 there", "harm", effect=-0.1),
    World("harm, -.20, one in five says something", "harm", effect=-0.2, respond=(0.2, 0.2)),
    World("early in the 50% stage, -.20", "harm", effect=-0.2, onset_stage=2),
    World("late in the 50% stage, -.20", "harm", effect=-0.2, onset_stage=2, onset_blocks=192),
    World("+.10 to 50%, then -.20", "harm", effect=-0.2, before=0.1, onset_stage=2),
    World("+.05 at first, -.20 when users come back", "harm", effect=-0.2, before=0.05, onset_stage=1),
    World("errors only, 10% against 0%", "harm", errors=(0.0, 0.1)),
    World("latency only, .10 slow against .30", "harm", slow=(0.1, 0.3)),
    World("good, +.10", "good", effect=0.1),
    World("good, +.10, large", "good", effect=0.1, users_per_day=30_000),
    World("slightly worse, -.04, small", "unclear", effect=-0.04, users_per_day=300),
)
STORIES = {world.name: world for world in WORLDS}


@dataclass
class Heard:
    """What a block of users did, one row for each run; [0] is the champion's, [1] the canary's."""

    users: Ints
    ups: Ints
    downs: Ints
    failed: Ints
    slow: Ints


@dataclass
class Traffic:
    """Draws blocks of users of one world, and keeps where each run is."""

    world: World
    runs: int
    rng: np.random.Generator
    users: Ints = field(init=False)
    canary_users: Ints = field(init=False)
    drawn: Ints = field(init=False)
    outcomes: NDArray[np.int16] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.users, self.canary_users = np.zeros(self.runs, int), np.zeros(self.runs, int)
        self.drawn = np.zeros((2, self.runs), int)
        if self.world.population:
            self.outcomes = self._draw_population()

    def _draw_population(self) -> NDArray[np.int16]:
        """Return, for each of five stages, how many of the first n users of a run are pleased: [stage, run, n]."""
        world = self.world
        teams = self.rng.normal(0, world.tastes, (self.runs, world.population // 10))
        members = self.rng.integers(0, teams.shape[1], (self.runs, world.population))
        liking = np.clip(world.champion + np.take_along_axis(teams, members, axis=1), 0, 1)
        pleased = np.stack([self.rng.random(liking.shape) < liking for _ in range(5)])
        sums = pleased.cumsum(axis=2, dtype=np.int16)
        return np.concatenate([np.zeros_like(sums[:, :, :1]), sums], axis=2)

    def days(self, which: Ints) -> Floats:
        return self.users[which] / self.world.users_per_day

    def draw(self, which: Ints, stages: Ints, shares: Floats, blocks: Ints) -> Heard:
        """Draw one block for each of these runs: users until both arms were served."""
        users = _draw_sizes(self.rng, shares)
        rates = self._find_rates(which, stages, blocks)
        ups, downs = self._draw_votes(which, stages, shares, users, rates)
        failing = np.array(self.world.errors)[:, None] + self._find_outage(which)
        failed = self.rng.binomial(users, np.clip(failing, 0, 1))
        slow = self.rng.binomial(users, np.array(self.world.slow)[:, None])
        self.users[which] += users.sum(axis=0)
        self.canary_users[which] += users[1]
        return Heard(users, ups, downs, failed, slow)

    def _find_outage(self, which: Ints) -> Floats:
        seen = self.users[which]
        return np.where((seen >= 2_000) & (seen < 6_000), self.world.outage, 0.0)

    def _find_rates(self, which: Ints, stages: Ints, blocks: Ints) -> Floats:
        world = self.world
        common = world.champion + world.season * np.sin(2 * np.pi * self.days(which) / SEASON_DAYS)
        common = common - world.drift * np.minimum(self.users[which] / 20_000, 1.0)
        begun = (stages > world.onset_stage) | ((stages == world.onset_stage) & (blocks >= world.onset_blocks))
        effect = np.where(begun, world.effect, world.before)
        effect = effect + world.novelty * 0.5 ** (self.canary_users[which] / 300)
        return np.clip(np.stack([common, common + effect]), 0.0, 1.0)

    def _draw_votes(self, which: Ints, stages: Ints, shares: Floats, users: Ints, rates: Floats) -> tuple[Ints, Ints]:
        if self.outcomes is None:
            say = self.rng.binomial(users, np.array(self.world.respond)[:, None])
            ups = self.rng.binomial(say, rates)
            return ups, say - ups
        first = np.stack([(shares * self.world.population).astype(int), np.zeros(which.size, int)])
        start = first + self.drawn[:, which]
        end = np.minimum(start + users, self.world.population)
        self.drawn[:, which] += users
        ups = (self.outcomes[stages, which, end] - self.outcomes[stages, which, start]).astype(int)
        return ups, end - start - ups

    def begin_stage(self, which: Ints) -> None:
        self.drawn[:, which] = 0

    def is_exhausted(self, which: Ints, shares: Floats) -> NDArray[np.bool_]:
        """Tell for which runs an arm has no user left that this stage has not counted."""
        if not self.world.population:
            return np.zeros(which.size, bool)
        left = np.stack([1 - shares, shares]) * self.world.population - self.drawn[:, which]
        return np.asarray((left < 60).any(axis=0))


def _draw_sizes(rng: np.random.Generator, shares: Floats) -> Ints:
    """Return how many users of each arm a block has, [arm, run]: it ends with the first of the other arm."""
    is_canary_first = rng.random(shares.size) < shares
    champions = np.where(is_canary_first, 1, rng.geometric(np.clip(shares, 1e-6, 1)))
    canaries = np.where(is_canary_first, rng.geometric(np.clip(1 - shares, 1e-6, 1)), 1)
    return np.stack([champions, canaries])
