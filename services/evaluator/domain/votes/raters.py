"""How each rater leans, and whether raters agree."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from services.evaluator.domain.votes.ballots import Ballot


def describe_raters(ballots: Sequence[Ballot]) -> list[dict[str, Any]]:
    """Describe each rater, numbered in the order of their first votes: nobody's name stands in a report.

    `score` is the candidate's with this rater, `leaning` how far that is from everybody's, `left_share` how often the
    left side won where one did, `consistent` the share of prompts judged in both orders that were judged alike.
    """
    cast = sorted(
        (ballot for ballot in ballots if ballot.rater and ballot.score is not None), key=lambda each: each.cast
    )
    votes: dict[str, list[Ballot]] = defaultdict(list)
    for ballot in cast:
        votes[ballot.rater or ""].append(ballot)
    scores = {rater: _mean([ballot.score or 0.0 for ballot in own]) for rater, own in votes.items()}
    overall = _mean(list(scores.values())) if scores else 0.0
    return [
        {
            "rater": number,
            "votes": len(own),
            "score": scores[rater],
            "leaning": scores[rater] - overall,
            "left_share": _find_left_share(own),
            "consistent": _find_consistency(own),
        }
        for number, (rater, own) in enumerate(votes.items(), start=1)
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _find_left_share(votes: Sequence[Ballot]) -> float | None:
    decided = [ballot.vote == "left" for ballot in votes if ballot.vote != "tie"]
    return _mean(decided) if decided else None


def _find_consistency(votes: Sequence[Ballot]) -> float | None:
    looks: dict[str, list[float | None]] = defaultdict(list)
    for ballot in votes:
        looks[ballot.prompt_hash].append(ballot.score)
    twice = [scores[0] == scores[1] for scores in looks.values() if len(scores) == 2]
    return _mean(twice) if twice else None


def calculate_agreement(ballots: Sequence[Ballot]) -> float | None:
    """Return Krippendorff's alpha (nominal: candidate, champion, tie) over prompts that two raters or more judged.

    None where there are too few, or no two judgements differ. For the population raters share no prompts: see
    "Computing Krippendorff's Alpha-Reliability" (Krippendorff 2011).
    """
    judged: dict[str, dict[str, float]] = defaultdict(dict)
    for ballot in ballots:
        if ballot.rater and ballot.score is not None:
            judged[ballot.prompt_hash].setdefault(ballot.rater, ballot.score)
    units = [list(scores.values()) for scores in judged.values() if len(scores) > 1]
    total = Counter(score for unit in units for score in unit)
    n = total.total()
    expected = n * n - sum(count * count for count in total.values())
    if n < 2 or not expected:
        return None
    observed = sum((len(unit) ** 2 - sum(c * c for c in Counter(unit).values())) / (len(unit) - 1) for unit in units)
    return 1 - (n - 1) * observed / expected
