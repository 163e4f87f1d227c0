"""Two e-processes over a rollout's votes: one that may roll it back, one that may let it advance.

Votes come in blocks of n_a >= 1 champion and n_b >= 1 canary votes. A block ends as soon as it has both, which depends
on who was asked and never on what they said. With rates r estimated from earlier blocks only, and t the point of the
null hypothesis nearest to r (least n_a·KL(r_a, t_a) + n_b·KL(r_b, t_b)), a block multiplies the e-value by the
likelihood ratio of r to t.

Why that is an e-variable: under true rates θ its expectation is A_a^n_a · A_b^n_b with A_i = 1 + (θ_i - t_i)·k_i and
k_i = (r_i - t_i) / (t_i·(1 - t_i)). At the nearest point of the null's edge θ_b = θ_a + c the first-order condition
reads n_a·k_a + n_b·k_b = 0, so along the edge log E <= (n_a·k_a + n_b·k_b)·(θ_a - t_a) = 0; away from the edge, into
the null, A_b shrinks. Hence E <= 1 on the whole null, and by Ville's inequality the e-value reaches 1/α with
probability at most α, however often one looks. Source: Turner, Ly and Grünwald 2024, "Generic E-variables for exact
sequential k-sample tests".
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from scipy.optimize import brentq

Arm = Literal["champion", "canary"]
EDGE = 1e-9


@dataclass(frozen=True)
class ArmVote:
    """One user's one vote in a rollout, in the order in which votes were heard."""

    arm: Arm
    up: bool


@dataclass(frozen=True)
class Counts:
    """Votes of one arm."""

    votes: int = 0
    ups: int = 0

    def add(self, up: bool) -> "Counts":
        return Counts(self.votes + 1, self.ups + up)

    def merge(self, other: "Counts") -> "Counts":
        return Counts(self.votes + other.votes, self.ups + other.ups)

    @property
    def estimate(self) -> float:
        """Return the rate with half a vote added on either side (Jeffreys' prior): never 0 or 1."""
        return (self.ups + 0.5) / (self.votes + 1)


@dataclass(frozen=True)
class Block:
    champion: Counts = Counts()
    canary: Counts = Counts()

    def add(self, vote: ArmVote) -> "Block":
        if vote.arm == "champion":
            return replace(self, champion=self.champion.add(vote.up))
        return replace(self, canary=self.canary.add(vote.up))

    def merge(self, other: "Block") -> "Block":
        return Block(self.champion.merge(other.champion), self.canary.merge(other.canary))

    @property
    def is_whole(self) -> bool:
        return self.champion.votes > 0 and self.canary.votes > 0


@dataclass(frozen=True)
class Evidence:
    """Natural logarithms of both e-values after the whole blocks in `weighed`, and the votes `waiting` for an end."""

    log_rollback: float = 0.0
    log_advance: float = 0.0
    weighed: Block = Block()
    waiting: Block = Block()

    @property
    def votes(self) -> int:
        return self.champion.votes + self.canary.votes

    @property
    def champion(self) -> Counts:
        """Return all votes for or against the champion."""
        return self.weighed.champion.merge(self.waiting.champion)

    @property
    def canary(self) -> Counts:
        """Return all votes for or against the canary."""
        return self.weighed.canary.merge(self.waiting.canary)


def extend_evidence(evidence: Evidence, votes: Iterable[ArmVote], *, delta: float) -> Evidence:
    """Return both e-processes after further votes, whatever their stage. `delta` is the margin of "worse" in (0, 1)."""
    for vote in votes:
        block = evidence.waiting.add(vote)
        evidence = _weigh(evidence, block, delta) if block.is_whole else replace(evidence, waiting=block)
    return evidence


def _weigh(evidence: Evidence, block: Block, delta: float) -> Evidence:
    rates = (evidence.weighed.champion.estimate, evidence.weighed.canary.estimate)
    return Evidence(
        evidence.log_rollback + calculate_rollback_factor(rates, block),
        evidence.log_advance + calculate_advance_factor(rates, block, delta),
        evidence.weighed.merge(block),
    )


def calculate_rollback_factor(rates: tuple[float, float], block: Block) -> float:
    """Return the log factor against "the canary is not worse" (θ_b >= θ_a); 0 while it looks no worse."""
    champion_rate, canary_rate = rates
    if canary_rate >= champion_rate:
        return 0.0
    n_champion, n_canary = block.champion.votes, block.canary.votes
    pooled = (n_champion * champion_rate + n_canary * canary_rate) / (n_champion + n_canary)
    return _log_ratio(rates, (pooled, pooled), block)


def calculate_advance_factor(rates: tuple[float, float], block: Block, delta: float) -> float:
    """Return the log factor against "the canary is worse by delta or more" (θ_b <= θ_a - δ); 0 while it looks so."""
    champion_rate, canary_rate = rates
    if canary_rate <= champion_rate - delta:
        return 0.0
    nearest = project_onto_margin(rates, (block.champion.votes, block.canary.votes), delta)
    return _log_ratio(rates, nearest, block)


def project_onto_margin(rates: tuple[float, float], sizes: tuple[int, int], delta: float) -> tuple[float, float]:
    """Return the point of the line θ_b = θ_a - δ that is nearest to `rates` in KL divergence weighted by `sizes`."""

    def slope(champion: float) -> float:
        canary = champion - delta
        return sizes[0] * (champion - rates[0]) / (champion * (1 - champion)) + sizes[1] * (canary - rates[1]) / (
            canary * (1 - canary)
        )

    champion = brentq(slope, delta + EDGE, 1 - EDGE, xtol=1e-12)
    return champion, champion - delta


def _log_ratio(alternative: tuple[float, float], null: tuple[float, float], block: Block) -> float:
    total = 0.0
    for counts, likely, doubted in zip((block.champion, block.canary), alternative, null, strict=True):
        downs = counts.votes - counts.ups
        total += counts.ups * math.log(likely / doubted) + downs * math.log((1 - likely) / (1 - doubted))
    return total


def estimate_missing_votes(evidence: Evidence, *, delta: float, alpha: float) -> int | None:
    """Return how many more votes let the rollout advance, if the rates stay as they are; None when it never would."""
    rates = (evidence.champion.estimate, evidence.canary.estimate)
    if rates[1] <= rates[0] - delta or not evidence.champion.votes or not evidence.canary.votes:
        return None
    share = evidence.canary.votes / evidence.votes
    per_block = max(1.0, (1 - share) / share), max(1.0, share / (1 - share))
    nearest = project_onto_margin(rates, (1, 1), delta)
    growth = sum(
        size * _divergence(rate, doubted) for size, rate, doubted in zip(per_block, rates, nearest, strict=True)
    )
    missing = math.log(1 / alpha) - evidence.log_advance
    return max(0, math.ceil(missing / growth * sum(per_block))) if growth > 0 else None


def _divergence(rate: float, other: float) -> float:
    return rate * math.log(rate / other) + (1 - rate) * math.log((1 - rate) / (1 - other))
