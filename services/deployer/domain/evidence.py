"""Whether the canary's mean is below the champion's: a restarting e-detector over blocks of users.

Each user is one number in [0, 1], higher is better. Users come in blocks of n_a >= 1 of the champion and n_b >= 1 of
the canary; a block ends as soon as it has both, which depends on who was served and never on what they said. With the
champion's mean r_a estimated from earlier blocks, an alternative r_b = r_a·(1 - g), and their pooled mean
t = (n_a·r_a + n_b·r_b) / (n_a + n_b), a block multiplies by the product of 1 + (y - t)·k_i over its users, where
k_i = (r_i - t) / (t·(1 - t)).

Why that is an e-variable under "the canary's mean is not below the champion's" (θ_b >= θ_a): users are independent, so
the expectation is the product of 1 + (θ_i - t)·k_i, whose logarithm is at most n_a·k_a·(θ_a - t) + n_b·k_b·(θ_b - t);
by the choice of t, n_a·k_a = -n_b·k_b >= 0, so that is n_a·k_a·(θ_a - θ_b) <= 0. Nothing is asked of how θ_a moves from
block to block: a common rate that drifts costs nothing, as long as both arms have the same within a block. For 0 and 1
the factor is a likelihood ratio (Turner, Ly and
Grünwald 2024); for other values it is a bet (Waudby-Smith and Ramdas 2024).

Harm may begin at any time, so the evidence begins anew every so many blocks, without end, in equal parts for each
alternative g. A sum of such e-processes is one whose weights add up to 1, and by Ville's inequality it reaches 1/α
with probability at most α, however often one looks. The j-th start point weighs in proportion to (j + 2)^-1.5: what
begins later has to reach more, but only by the logarithm of its weight. A factor does not depend on its start point:
one number for each alternative holds all of them.
"""

import math
from dataclasses import dataclass, field

from scipy.special import zeta

from services.deployer.domain.arms import ARMS, Arm

LOSSES = (0.04, 0.12, 0.35, 0.75)
"""Alternatives: which share of the champion's mean the canary may have lost."""
LEAST, MOST = 0.005, 0.999
DECAY, HEAD = 1.5, 2.0
"""Weights of endlessly many: (j + head)^-decay."""
LARGEST = 1e250  # far beyond any threshold, and a factor more is no overflow


def weigh_place(place: int) -> float:
    """Return the weight of the j-th of endlessly many things that share 1, counted from 0."""
    return float((place + HEAD) ** -DECAY / zeta(DECAY, HEAD))


@dataclass(frozen=True)
class Schedule:
    """Start points of one detector, every `spacing` blocks. All of them weigh `weight` together.

    `starts`: how many there are, each as heavy; 0 for ever more, each lighter than the one before.
    """

    weight: float = 1.0
    starts: int = 1
    spacing: int = 64

    def weigh_start(self, block: int) -> float:
        """Return what the start point at a block weighs; 0 where there is none."""
        start, rest = divmod(block, self.spacing)
        if rest:
            return 0.0
        if self.starts:
            return self.weight / self.starts if start < self.starts else 0.0
        return self.weight * weigh_place(start)


@dataclass
class Detector:
    """Grows by one user at a time; `highest` is the largest e-value so far, which is what acts."""

    schedule: Schedule = Schedule()
    wealth: list[float] = field(default_factory=lambda: [0.0] * len(LOSSES))
    highest: float = 0.0
    blocks: int = 0
    champion_users: int = 0
    champion_sum: float = 0.0
    waiting: dict[Arm, list[float]] = field(default_factory=lambda: {arm: [] for arm in ARMS})

    @property
    def e_value(self) -> float:
        return sum(self.wealth) if self.blocks else self.schedule.weigh_start(0)

    def add(self, arm: Arm, value: float) -> None:
        """Weigh one more user's value, in [0, 1]."""
        self.waiting[arm].append(value)
        if all(self.waiting.values()):
            self._weigh(self.waiting["champion"], self.waiting["canary"])
            self.waiting = {arm: [] for arm in ARMS}

    def _weigh(self, champion: list[float], canary: list[float]) -> None:
        share = self.schedule.weigh_start(self.blocks) / len(LOSSES)
        self.wealth = [wealth + share for wealth in self.wealth]
        rate = estimate_mean(self.champion_sum, self.champion_users)
        factors = [calculate_factor(rate, loss, champion, canary) for loss in LOSSES]
        self.wealth = [min(wealth * factor, LARGEST) for wealth, factor in zip(self.wealth, factors, strict=True)]
        self.highest = max(self.highest, self.e_value)
        self.blocks += 1
        self.champion_users += len(champion)
        self.champion_sum += sum(champion)


def estimate_mean(total: float, users: int) -> float:
    """Estimate a mean with half a user of either kind added: never quite 0 or 1."""
    return min(max((total + 0.5) / (users + 1), LEAST), MOST)


def calculate_factor(champion_rate: float, loss: float, champion: list[float], canary: list[float]) -> float:
    """Return what a block multiplies the wealth by that was put on the canary having lost `loss` of the rate."""
    canary_rate = champion_rate * (1 - loss)
    pooled = (len(champion) * champion_rate + len(canary) * canary_rate) / (len(champion) + len(canary))
    spread = pooled * (1 - pooled)
    product = 1.0
    for rate, values in ((champion_rate, champion), (canary_rate, canary)):
        bet = (rate - pooled) / spread
        product *= math.prod(1 + (value - pooled) * bet for value in values)
    return product


def weigh_share(canary_users: int, users: int, share: float, *, weight: float = 50.0) -> float:
    """Return the e-value against "each user is the canary's with probability `share`", in either direction.

    A Beta mixture around `share`, as heavy as `weight` users.
    """
    a, b = weight * share, weight * (1 - share)
    others = users - canary_users
    log_mixture = _log_beta(a + canary_users, b + others) - _log_beta(a, b)
    log_null = canary_users * math.log(share) + others * math.log(1 - share)
    return math.exp(min(log_mixture - log_null, 500))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
