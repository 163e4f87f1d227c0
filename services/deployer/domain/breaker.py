"""The hard breaker: the canary's latest answers beside the champion's of the same time, before any exposure is over.

A look asks how likely the counts of users who met a failure are if both arms fail alike. Then chance alone has dealt
those users to the arms, and the answer is exact (hypergeometric). Looks come whenever the canary has given so many
answers more and enough users came for a trip, whatever became of their answers. The k-th look of all stages, and the
k-th of the holdback, may err at level a·w(k)/2, where the weights w(k) add up to 1: all looks together err with
probability at most a, which is the breaker's share of alpha.

Where most users are meant for the canary, so few may be left that none comes. Then there is nobody to compare with, and
fifteen users without an error are put in their place: a look errs at most at its level while each user meets a failure
with a chance of at most 15%, and an outage of both arms trips it.
"""

from dataclasses import dataclass

from scipy.stats import hypergeom

from services.deployer.domain.limits import Limits

UNSEEN_CHAMPION = 15
"""Users without an error in the place of the champion's, where it has none to compare with."""
UNSEEN_PART = 4
"""Where most users are the canary's, one part of so many of a full window without any of the champion's is enough."""
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
    """Whether none of the champion's users is waited for where none came."""

    @property
    def others(self) -> int:
        """Return how many users the canary's are held against; 0: it waits for some."""
        return self.champion.users or (UNSEEN_CHAMPION if self.is_alone else 0)


NOTHING_SEEN = Breaker()


def is_due(breaker: Breaker, limits: Limits) -> bool:
    """Tell whether enough of the canary's answers are new for a look."""
    is_full = breaker.served >= limits.breaker_window
    step = max(limits.breaker_window // RENEWED, 1) if is_full else limits.breaker_errors
    return not limits.breaker_alpha_share or breaker.fresh >= step


def has_nobody_to_wait_for(breaker: Breaker, canary_share: float, limits: Limits) -> bool:
    """Tell whether it is vain to wait for the champion's users: none is meant for it, or too few to be sure of one."""
    if canary_share >= 1:
        return True
    return canary_share > 0.5 and breaker.served >= limits.breaker_window // UNSEEN_PART


def could_break(breaker: Breaker, level: float, limits: Limits) -> bool:
    """Tell whether a look would trip if of these users all of the canary's had met a failure, and no other.

    One that could not is not taken, and so not paid for. That depends on who came, not on what became of them.
    """
    users, others = breaker.canary.users, breaker.others
    return users >= limits.breaker_errors and others > 0 and find_chance(Failures(users, users), 0, others) < level


def find_chance(canary: Failures, others_failed: int, others: int) -> float:
    """Return how likely so many of the failed users, or more, are the canary's if both arms fail alike: exact."""
    failed, users = canary.failed + others_failed, canary.users + others
    return float(hypergeom.sf(canary.failed - 1, users, failed, canary.users))


def breaks(breaker: Breaker, limits: Limits) -> bool:
    """Tell whether the canary's errors trip the hard breaker.

    - at least `breaker_errors` of its latest answers failed, for as many users
    - the share of its users who met one is above the champion's by more than `breaker_share`
    - that is less likely than this look's level if both fail alike: an outage of both trips nothing

    While the champion's users may still come and none did in this time, it waits for them.
    """
    canary, champion = breaker.canary, breaker.champion
    if min(breaker.errors, canary.failed) < limits.breaker_errors or not breaker.others:
        return False
    common = champion.failed / champion.users if champion.users else 0.0
    if canary.failed / canary.users - common <= limits.breaker_share:
        return False
    return find_chance(canary, champion.failed, breaker.others) < breaker.level


def describe_breaker(breaker: Breaker) -> str:
    """Say in one line what the breaker saw."""
    champion = breaker.champion
    return (
        f"{breaker.errors} of the last {breaker.served} canary answers failed, for {breaker.canary.failed} of"
        f" {breaker.canary.users} users; of the champion's {champion.failed} of {champion.users}"
    )
