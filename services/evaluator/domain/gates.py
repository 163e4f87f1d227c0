"""All gates of one evaluation, in the order in which the report shows them."""

from collections.abc import Sequence
from typing import Any

from services.evaluator.domain.contamination import assess_contamination
from services.evaluator.domain.report import JudgedPrompt
from services.evaluator.domain.sanity import assess_empty, assess_length, assess_repetition
from services.evaluator.domain.win_rate import Ballot, assess_win_rate
from shared.events import GateResult
from shared.summaries import read_summary


def assess_all(
    candidate_version: str,
    generation: dict[str, Any],
    prompts: Sequence[JudgedPrompt],
    ballots: Sequence[Ballot],
    minimum_votes_share: float,
    unmeasured_kl: str | None = None,
) -> list[GateResult]:
    """Assess the generation first, then the rest: without answers there is nothing to vote on or to measure."""
    contamination = assess_contamination(
        generation.get("gate_prompts", 0), generation.get("colliding", 0), generation.get("training_texts", 0)
    )
    if failed := assess_generation(candidate_version, generation, len(prompts)):
        return [failed, contamination, *assess_movement(unmeasured_kl)]
    candidate = [prompt.candidate for prompt in prompts]
    champion = [prompt.champion for prompt in prompts]
    return [
        assess_win_rate(ballots, minimum_votes_share),
        contamination,
        assess_length(candidate, champion),
        assess_empty(candidate, champion),
        assess_repetition(candidate, champion),
        *assess_movement(unmeasured_kl),
    ]


def assess_movement(unmeasured_kl: str | None) -> list[GateResult]:
    """Return no gate where training held the candidate's KL against its ceiling; inconclusive where it could not."""
    if unmeasured_kl is None:
        return []
    return [GateResult(name="kl", verdict="inconclusive", summary=f"cause: error; {unmeasured_kl}")]


def assess_generation(candidate_version: str, generation: dict[str, Any], answered: int) -> GateResult | None:
    """Return None when there are answers. A candidate that cannot answer fails; anything else is inconclusive."""
    if answered:
        return None
    failure = generation.get("failure")
    if failure is None:
        prompts = generation.get("prompts", 0)
        summary = f"none of {prompts} gate prompts was answered" if prompts else "there are no gate prompts to judge by"
        return GateResult(name="generation", verdict="inconclusive", summary=summary, n=0)
    guilty = failure.get("version") == candidate_version
    return GateResult(
        name="generation",
        verdict="fail" if guilty else "inconclusive",
        summary=f"no answers from version {failure.get('version') or '?'}: {read_summary(failure)}",
        n=0,
    )
