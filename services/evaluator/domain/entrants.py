"""All candidates of one request before the gates: at most one may go on, with the error held over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from services.evaluator.domain.gates import assess_all
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.report import JudgedPrompt, Verdict, derive_verdict
from services.evaluator.domain.votes.ballots import Ballot
from services.evaluator.domain.votes.tournament import (
    Ranking,
    describe,
    pair_scores,
    rank,
    share_level,
    split_candidates,
)
from services.evaluator.domain.votes.win_rate import VotingPlan, count_votes
from shared.events import GateResult

ORDER: tuple[Verdict, ...] = ("pass", "inconclusive", "fail")


@dataclass(frozen=True)
class Entrant:
    """One candidate of a request, as the gates need it."""

    version: str
    prompts: Sequence[JudgedPrompt]
    generation: dict[str, Any]
    """What is common to all of the request, and what was measured of this one."""
    unmeasured_kl: str | None = None


@dataclass(frozen=True)
class Contest:
    """Whom the evaluation speaks of, what the gates said of them, their votes, and how all of them stand."""

    version: str
    gates: list[GateResult]
    ballots: list[Ballot]
    generation: dict[str, Any]
    prompts: Sequence[JudgedPrompt]
    tournament: dict[str, Any] | None


def hold_contest(entrants: Sequence[Entrant], ballots: Sequence[Ballot], policy: Policy) -> Contest:
    """Assess every entrant at its share of the level, and choose of those that pass the one that wins most.

    Where nobody passes the evaluation speaks of whoever came nearest: inconclusive before failed, then by win rate.
    """
    split = split_candidates(ballots, policy.win_rate.seats)
    plans = share_level(split, policy.win_rate)
    gates = {
        entrant.version: assess_all(
            entrant.version,
            entrant.generation,
            entrant.prompts,
            split.get(entrant.version, []),
            msgspec.structs.replace(policy, win_rate=plans.get(entrant.version, policy.win_rate)),
            entrant.unmeasured_kl,
        )
        for entrant in entrants
    }
    verdicts = {version: derive_verdict(own) for version, own in gates.items()}
    ranking = _rank(split, policy.win_rate)
    chosen = min(entrants, key=lambda entrant: _find_place(entrant.version, verdicts, ranking))
    told = _describe(chosen.version, ranking, gates, verdicts) if len(entrants) > 1 else None
    votes = split.get(chosen.version, [])
    return Contest(chosen.version, gates[chosen.version], votes, chosen.generation, chosen.prompts, told)


def _rank(split: Mapping[str, Sequence[Ballot]], plan: VotingPlan) -> Ranking:
    if not split:
        return Ranking([], None, 0, plan.level)
    counts = {version: count_votes(own, plan) for version, own in split.items()}
    design = next(iter(counts.values())).design
    ranking = rank(
        {version: count.scores for version, count in counts.items()}, design, plan.level, pair_scores(split, plan.seats)
    )
    settled = {version: count.settled_share for version, count in counts.items()}
    places = [
        replace(
            place,
            **{
                name: settled[place.candidate] / 2 + (1 - settled[place.candidate]) * getattr(place, name)
                for name in ("effect", "low", "high")
            },
        )
        for place in ranking.places
    ]
    return replace(ranking, places=places)


def _find_place(version: str, verdicts: Mapping[str, Verdict], ranking: Ranking) -> tuple[int, float]:
    effect = next((place.effect for place in ranking.places if place.candidate == version), 0.0)
    return ORDER.index(verdicts[version]), -effect


def _describe(
    chosen: str, ranking: Ranking, gates: Mapping[str, Sequence[GateResult]], verdicts: Mapping[str, Verdict]
) -> dict[str, Any]:
    """Describe how all stand, with each one's verdict and the gates that stopped it."""
    told = describe(replace(ranking, winner=chosen if verdicts[chosen] == "pass" else None))
    for place in told["places"]:
        own = gates[place["candidate"]]
        place["verdict"] = verdicts[place["candidate"]]
        place["stopped_by"] = [gate.name for gate in own if gate.blocks and gate.verdict != "pass"]
        place["beats_champion"] = any(gate.name == "win_rate" and gate.verdict == "pass" for gate in own)
    ranked = {place.candidate for place in ranking.places}
    told["not_ranked"] = {
        version: "; ".join(gate.summary for gate in own if gate.verdict != "pass")
        for version, own in gates.items()
        if version not in ranked
    }
    return told
