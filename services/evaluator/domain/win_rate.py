"""Do people prefer the candidate's answers?"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from services.evaluator.domain.intervals import calculate_share_interval, calculate_share_minimum_effect
from shared.events import GateResult

Vote = Literal["left", "right", "tie"]


@dataclass(frozen=True)
class Ballot:
    """One blind comparison and its vote, if it has one."""

    prompt_hash: str
    candidate_is_left: bool
    vote: Vote | None

    @property
    def score(self) -> float | None:
        """Return 1 for the candidate, 0 for the champion, a half for a tie."""
        if self.vote is None:
            return None
        if self.vote == "tie":
            return 0.5
        return float((self.vote == "left") == self.candidate_is_left)


def derive_prompt_scores(ballots: Sequence[Ballot]) -> dict[str, float]:
    """Return the candidate's mean score on each prompt that has a vote."""
    scores: dict[str, list[float]] = defaultdict(list)
    for ballot in ballots:
        if ballot.score is not None:
            scores[ballot.prompt_hash].append(ballot.score)
    return {prompt_hash: sum(values) / len(values) for prompt_hash, values in scores.items()}


def calculate_left_share(ballots: Sequence[Ballot]) -> float | None:
    """Return how often the left side won where one side did; far from a half, it is the seat that won."""
    decided = [ballot.vote for ballot in ballots if ballot.vote in ("left", "right")]
    return decided.count("left") / len(decided) if decided else None


def has_enough_votes(ballots: Sequence[Ballot], minimum_share: float) -> bool:
    cast = sum(ballot.vote is not None for ballot in ballots)
    return cast > 0 and cast >= minimum_share * len(ballots)


def assess_win_rate(ballots: Sequence[Ballot], minimum_votes_share: float) -> GateResult:
    """Pass when the whole interval is above one half, fail when it is below, inconclusive otherwise.

    The prompt is the unit: its two votes count as their mean, so the interval holds however alike they are.
    Inconclusive, too, when fewer votes came than the minimum share.
    """
    scores = derive_prompt_scores(ballots)
    cast, n = sum(ballot.vote is not None for ballot in ballots), len(scores)
    if not has_enough_votes(ballots, minimum_votes_share):
        return GateResult(
            name="win_rate",
            verdict="inconclusive",
            summary=(
                f"{cast} of {len(ballots)} votes were cast before the deadline; {minimum_votes_share:.0%} are needed"
            ),
            n=n,
        )
    rate = sum(scores.values()) / n
    low, high = calculate_share_interval(sum(scores.values()), n)
    minimum = calculate_share_minimum_effect(n)
    return GateResult(
        name="win_rate",
        verdict="pass" if low > 0.5 else "fail" if high < 0.5 else "inconclusive",
        summary=(
            f"the candidate won {rate:.1%} of {n} prompts (95% interval {low:.1%} to {high:.1%}, {cast} votes, ties "
            f"half); a true rate of {0.5 + minimum:.1%} or more would be seen four times in five"
        ),
        effect=rate,
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=minimum,
    )
