"""The hard breaker: the canary's latest answers beside the champion's of the same time, before any exposure is over.

A look asks how likely the counts of users who met a failure are if both arms fail alike. Then chance alone has dealt
those users to the arms, and the answer is exact (hypergeometric). Looks come whenever the canary has given so many
answers more, whatever became of them. The k-th look of a rollout may err at level a·w(k), where the weights w(k) add up
to 1: all looks together err with probability at most a, which is the breaker's share of alpha.
"""

from dataclasses import dataclass

from scipy.stats import hypergeom

from services.deployer.domain.limits import Limits

UNSEEN_CHAMPION = 15
"""Champion users without an error where no user is meant for the champion: five failures of five trip it then."""
RENEWED = 8
"""A full window is looked at when one part of so many is new."""


@dataclass(frozen=True)
class Failures:
    """Users of one arm in the breaker's window, and how many of them an answer failed."""

    users: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Breaker:
    """What the breaker looks at: the canary's latest answers, and both arms' users in the time that those span."""

    served: int = 0
    errors: int = 0
    canary: Failures = Failures()
    champion: Failures = Failures()
    fresh: int = 0
    """Answers since the look before."""
    level: float = 0.0
    """How unlikely the counts must be for this look; 0 between two looks."""
    is_alone: bool = False
    """Whether no user is meant for the champion."""


NOTHING_SEEN = Breaker()


def is_due(breaker: Breaker, limits: Limits) -> bool:
    """Tell whether enough of the canary's answers are new for a look."""
    is_full = breaker.served >= limits.breaker_window
    step = max(limits.breaker_window // RENEWED, 1) if is_full else limits.breaker_errors
    return not limits.breaker_alpha_share or breaker.fresh >= step


def breaks(breaker: Breaker, limits: Limits) -> bool:
    """Tell whether the canary's errors trip the hard breaker.

    - at least `breaker_errors` of its latest answers failed, for as many users
    - the share of its users who met one is above the champion's by more than `breaker_share`
    - that is less likely than this look's level if both fail alike: an outage of both trips nothing

    While users are meant for the champion and none came in this time, there is nothing to compare with, and it waits.
    """
    canary, champion = breaker.canary, breaker.champion
    if min(breaker.errors, canary.failed) < limits.breaker_errors or not (champion.users or breaker.is_alone):
        return False
    common = champion.failed / champion.users if champion.users else 0.0
    if canary.failed / canary.users - common <= limits.breaker_share:
        return False
    good = champion.users or UNSEEN_CHAMPION
    failed = canary.failed + champion.failed
    return float(hypergeom.sf(canary.failed - 1, canary.users + good, failed, canary.users)) < breaker.level


def describe_breaker(breaker: Breaker) -> str:
    """Say in one line what the breaker saw."""
    champion = breaker.champion
    return (
        f"{breaker.errors} of the last {breaker.served} canary answers failed, for {breaker.canary.failed} of"
        f" {breaker.canary.users} users; of the champion's {champion.failed} of {champion.users}"
    )
