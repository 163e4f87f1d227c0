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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.optimize import brentq

Arm = Literal["champion", "canary"]
EDGE = 1e-9


@dataclass(frozen=True)
class Vote:
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
        """Rate with half a vote added on either side (Jeffreys' prior): never 0 or 1."""
        return (self.ups + 0.5) / (self.votes + 1)


@dataclass(frozen=True)
class Block:
    champion: Counts
    canary: Counts


@dataclass(frozen=True)
class Evidence:
    """Natural logarithms of both e-values after the last whole block, and the counts of all votes."""

    log_rollback: float
    log_advance: float
    champion: Counts
    canary: Counts


def derive_blocks(votes: Iterable[Vote]) -> list[Block]:
    """Votes cut into blocks; a last block without both arms is left for later."""
    blocks: list[Block] = []
    champion, canary = Counts(), Counts()
    for vote in votes:
        if vote.arm == "champion":
            champion = champion.add(vote.up)
        else:
            canary = canary.add(vote.up)
        if champion.votes and canary.votes:
            blocks.append(Block(champion, canary))
            champion, canary = Counts(), Counts()
    return blocks


def calculate_evidence(votes: Sequence[Vote], *, delta: float) -> Evidence:
    """Both e-processes over all votes of a rollout, stages and all; `delta` is the margin of "worse" in (0, 1)."""
    champion, canary = Counts(), Counts()
    log_rollback = log_advance = 0.0
    for block in derive_blocks(votes):
        rates = (champion.estimate, canary.estimate)
        log_rollback += calculate_rollback_factor(rates, block)
        log_advance += calculate_advance_factor(rates, block, delta)
        champion, canary = champion.merge(block.champion), canary.merge(block.canary)
    everyone = {arm: Counts(len(ups), sum(ups)) for arm in ("champion", "canary") if (ups := _list_ups(votes, arm))}
    return Evidence(log_rollback, log_advance, everyone.get("champion", Counts()), everyone.get("canary", Counts()))


def _list_ups(votes: Sequence[Vote], arm: str) -> list[bool]:
    return [vote.up for vote in votes if vote.arm == arm]


def calculate_rollback_factor(rates: tuple[float, float], block: Block) -> float:
    """Log factor against "the canary is not worse" (θ_b >= θ_a); 0 while it looks no worse."""
    champion_rate, canary_rate = rates
    if canary_rate >= champion_rate:
        return 0.0
    n_champion, n_canary = block.champion.votes, block.canary.votes
    pooled = (n_champion * champion_rate + n_canary * canary_rate) / (n_champion + n_canary)
    return _log_ratio(rates, (pooled, pooled), block)


def calculate_advance_factor(rates: tuple[float, float], block: Block, delta: float) -> float:
    """Log factor against "the canary is worse by delta or more" (θ_b <= θ_a - δ); 0 while it looks so."""
    champion_rate, canary_rate = rates
    if canary_rate <= champion_rate - delta:
        return 0.0
    nearest = project_onto_margin(rates, (block.champion.votes, block.canary.votes), delta)
    return _log_ratio(rates, nearest, block)


def project_onto_margin(rates: tuple[float, float], sizes: tuple[int, int], delta: float) -> tuple[float, float]:
    """The point of the line θ_b = θ_a - δ that is nearest to `rates` in KL divergence weighted by `sizes`."""

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
    """Votes still to come before the rollout may advance, if the rates stay as they are; None when it never would."""
    rates = (evidence.champion.estimate, evidence.canary.estimate)
    voted = evidence.champion.votes + evidence.canary.votes
    if rates[1] <= rates[0] - delta or not evidence.champion.votes or not evidence.canary.votes:
        return None
    share = evidence.canary.votes / voted
    per_block = max(1.0, (1 - share) / share), max(1.0, share / (1 - share))
    nearest = project_onto_margin(rates, (1, 1), delta)
    growth = sum(
        size * _divergence(rate, doubted) for size, rate, doubted in zip(per_block, rates, nearest, strict=True)
    )
    missing = math.log(1 / alpha) - evidence.log_advance
    return max(0, math.ceil(missing / growth * sum(per_block))) if growth > 0 else None


def _divergence(rate: float, other: float) -> float:
    return rate * math.log(rate / other) + (1 - rate) * math.log((1 - rate) / (1 - other))
