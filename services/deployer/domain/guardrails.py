"""The tests of one stage, each fed with its own value of every user: what may roll back, hold, or let advance."""

from dataclasses import dataclass, field

from services.deployer.domain.arms import ARMS, Arm
from services.deployer.domain.evidence import Detector, weigh_share
from services.deployer.domain.limits import Action, Guardrail, Limits
from services.deployer.domain.outcomes import UserOutcome

YARDSTICK_USERS = 50
"""Champion users of a stage whose answers' times say what is slow; they are not tested themselves."""
SLOW_QUANTILE = 0.9
BOUNDS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
"""Losses that a promoted version is tested against, for a bound of what it may have lost."""


@dataclass(frozen=True)
class Reading:
    """Where one guardrail stands: it acts when `e_value` has reached `acts_at`."""

    name: str
    action: Action
    e_value: float
    acts_at: float
    champion: float | None
    """Mean of the champion's users, higher is better; for `sample_ratio` the canary's expected share."""
    canary: float | None

    @property
    def is_breached(self) -> bool:
        return self.e_value >= self.acts_at


@dataclass
class Mean:
    users: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.users += 1
        self.total += value
        self.squares += value * value

    @property
    def value(self) -> float | None:
        return self.total / self.users if self.users else None

    @property
    def variance(self) -> float:
        """Return the variance, with a quarter's worth of one user added: never 0."""
        mean = self.value or 0.0
        return (max(self.squares - self.users * mean * mean, 0.0) + 0.25) / (self.users + 1)


@dataclass
class Yardstick:
    """What counts as a slow answer: the champion's 90% quantile over its first users of the stage."""

    seen: list[float] = field(default_factory=list)
    seconds: float | None = None

    def judge(self, outcome: UserOutcome) -> float | None:
        """Return 1 for a user served in time, 0 for a slow one, None for one who is not tested."""
        if outcome.seconds is None:
            return None
        if self.seconds is not None:
            return float(outcome.seconds <= self.seconds)
        if outcome.arm == "champion":
            self._measure(outcome.seconds)
        return None

    def _measure(self, seconds: float) -> None:
        self.seen.append(seconds)
        if len(self.seen) == YARDSTICK_USERS:
            self.seconds = sorted(self.seen)[int(SLOW_QUANTILE * YARDSTICK_USERS)]


class StageEvidence:
    """All evidence of one stage: users are added in the order in which their exposures ended.

    Latencies are compared while the canary has at most half of the users: where each version has servers of its own,
    the one with more to do is the slower one.
    """

    def __init__(self, limits: Limits, *, canary_share: float = 0.5, is_promoted: bool = False) -> None:
        """Begin with nothing. `is_promoted`: the champion's users are its holdback."""
        self.limits, self.times_are_fair = limits, canary_share <= 0.5
        names = [guardrail.name for guardrail in limits.guardrails if guardrail.name != "sample_ratio"]
        self.detectors = {name: Detector(limits.schedule) for name in names}
        self.means = {name: {arm: Mean() for arm in ARMS} for name in names}
        self.advance = Detector()
        self.bounds = {loss: Detector() for loss in sorted({*BOUNDS, limits.delta})} if is_promoted else {}
        self.yardstick = Yardstick()
        self.users = 0
        self.said: dict[Arm, int] = dict.fromkeys(ARMS, 0)

    def add(self, outcome: UserOutcome) -> None:
        self.users += 1
        self.said[outcome.arm] += outcome.value is not None
        for name, value in self._list_values(outcome).items():
            if value is not None and name in self.detectors:
                self.detectors[name].add(outcome.arm, value)
                self.means[name][outcome.arm].add(value)
        self.advance.add(outcome.arm, derive_shortfall(outcome, self.limits))
        for loss, detector in self.bounds.items():
            detector.add(outcome.arm, derive_shortfall(outcome, self.limits, loss))

    def find_bound(self, alpha: float) -> float | None:
        """Return the loss that the canary's outcome is sure not to have, or more; None while none is ruled out.

        It may be looked at any time. "Worse by d or more" holds for every smaller d as well, so ruling out a loss and
        all larger ones errs only where the test of the largest loss that is true errs: at most alpha of the time.
        """
        ruled_out: float | None = None
        for loss in sorted(self.bounds, reverse=True):
            if self.bounds[loss].highest < 1 / alpha:
                break
            ruled_out = loss
        return ruled_out

    def _list_values(self, outcome: UserOutcome) -> dict[str, float | None]:
        return {
            "outcome": self.limits.silence if outcome.value is None else outcome.value,
            "errors": 1 - outcome.failed,
            "latency": self.yardstick.judge(outcome) if self.times_are_fair else None,
            "harmful_complaints": float(not outcome.is_harmed),
            "response_rate": float(outcome.value is not None),
        }

    def read(self, exposed: dict[Arm, int], canary_share: float) -> list[Reading]:
        """Return where each guardrail stands; `exposed`: users of each arm in this stage, outcome or not."""
        return [self._read(guardrail, exposed, canary_share) for guardrail in self.limits.guardrails]

    def _read(self, guardrail: Guardrail, exposed: dict[Arm, int], share: float) -> Reading:
        acts_at = 1 / self.limits.calculate_alpha(guardrail)
        if guardrail.name == "sample_ratio":
            users = sum(exposed.values())
            weight = self.limits.sample_ratio_weight
            e_value = weight * weigh_share(exposed["canary"], users, share) if 0 < share < 1 else 0.0
            seen = exposed["canary"] / users if users else None
            return Reading(guardrail.name, guardrail.action, e_value, acts_at, share, seen)
        means = self.means[guardrail.name]
        e_value = self.detectors[guardrail.name].highest
        champion, canary = means["champion"].value, means["canary"].value
        return Reading(guardrail.name, guardrail.action, e_value, acts_at, champion, canary)


def derive_shortfall(outcome: UserOutcome, limits: Limits, delta: float | None = None) -> float:
    """Return what a user's outcome lacks, in [0, 1], with delta (the limits') taken off what the champion's users said.

    The mean of the canary's is below the champion's exactly where the canary is not worse by delta or more, counted
    over those who say something: a silent user is the same on either side.
    """
    loss = limits.delta if delta is None else delta
    value = limits.silence if outcome.value is None else outcome.value
    handicap = loss if outcome.arm == "champion" and outcome.value is not None else 0.0
    return 1 - (value - handicap + loss) / (1 + loss)
