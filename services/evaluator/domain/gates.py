"""All gates of one evaluation, in the order in which the report shows them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from services.evaluator.domain.contamination import assess_contamination
from services.evaluator.domain.expense import assess_expense
from services.evaluator.domain.forgetting import assess_forgetting, assess_tasks, count_solved
from services.evaluator.domain.measures.texts import has_switched
from services.evaluator.domain.movement import assess_kl
from services.evaluator.domain.pair_accuracy import HeldOutPair, assess_pair_accuracy
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.report import JudgedPrompt
from services.evaluator.domain.rules import apply_rule
from services.evaluator.domain.safety import assess_safety, find_said
from services.evaluator.domain.sanity import (
    assess_diversity,
    assess_empty,
    assess_judge_talk,
    assess_length,
    assess_refusals,
    assess_repetition,
    assess_trait,
)
from services.evaluator.domain.votes.ballots import Ballot
from services.evaluator.domain.votes.judged import Judged, assess_judged
from services.evaluator.domain.votes.length_control import assess_length_controlled
from services.evaluator.domain.votes.prediction_powered import assess_combined
from services.evaluator.domain.votes.win_rate import assess_win_rate, derive_prompt_scores, withhold
from shared.conversation import derive_question
from shared.events import GateResult
from shared.summaries import read_summary

OF_RATERS = ("win_rate", "combined_win_rate", "length_controlled_win_rate")
"""What rests on raters' votes."""


def assess_all(
    candidate_version: str,
    generation: dict[str, Any],
    prompts: Sequence[JudgedPrompt],
    ballots: Sequence[Ballot],
    policy: Policy,
    unmeasured_kl: str | None = None,
) -> list[GateResult]:
    """Assess the generation first, then the rest: without answers there is nothing to vote on or to measure."""
    contamination = _assess_contamination(generation, policy)
    if failed := assess_generation(candidate_version, generation, len(prompts)):
        return [failed, *contamination, *assess_movement(unmeasured_kl)]
    gates = [
        assess_win_rate(ballots, policy.win_rate),
        *_assess_judge(ballots, generation, policy),
        *contamination,
        *_assess_answers(prompts, ballots, policy),
        *_assess_measured(prompts, generation, policy),
    ]
    told = [withhold(gate, policy.win_rate) if gate.name in OF_RATERS else gate for gate in gates]
    return [*(apply_rule(gate, getattr(policy, gate.name)) for gate in told), *assess_movement(unmeasured_kl)]


def _assess_contamination(generation: dict[str, Any], policy: Policy) -> list[GateResult]:
    """Return no gate where it is said that training texts are not to be had."""
    if "contamination" in generation.get("not_measured", ()):
        return []
    examined, colliding, texts = (generation.get(name, 0) for name in ("gate_prompts", "colliding", "training_texts"))
    return [assess_contamination(examined, colliding, texts, policy.contamination)]


def _assess_judge(ballots: Sequence[Ballot], generation: dict[str, Any], policy: Policy) -> list[GateResult]:
    """Assess what a judge said, if one was asked, alone and together with people's votes."""
    if (said := generation.get("judged")) is None:
        return []
    judged = msgspec.convert(said, Judged)
    gate = assess_judged(judged, derive_prompt_scores(ballots), policy.judged_win_rate, policy.win_rate.level)
    if gate.cause == "error" or not any(ballot.rater for ballot in ballots):
        return [gate]
    return [gate, assess_combined(ballots, judged, policy.win_rate, policy.combined_win_rate)]


def _assess_answers(prompts: Sequence[JudgedPrompt], ballots: Sequence[Ballot], policy: Policy) -> list[GateResult]:
    candidate, champion = [prompt.candidate for prompt in prompts], [prompt.champion for prompt in prompts]
    questions = [derive_question(prompt.messages) for prompt in prompts]
    ours, theirs = (
        [has_switched(question, answer) for question, answer in zip(questions, side, strict=True)]
        for side in (candidate, champion)
    )
    hashes = [prompt.prompt_hash for prompt in prompts]
    regions = _list_regions(prompts)
    return [
        assess_length_controlled(
            ballots, dict(zip(hashes, candidate, strict=True)), dict(zip(hashes, champion, strict=True))
        ),
        assess_length(candidate, champion, policy.length, regions),
        assess_empty(candidate, champion, policy.empty_answers, regions),
        assess_repetition(candidate, champion, policy.repetition, regions),
        assess_refusals(candidate, champion, policy.refusals, regions),
        assess_judge_talk(candidate, champion, policy.judge_talk, regions),
        assess_trait(
            "language_switch", "in another language than asked", ours, theirs, policy.language_switch, regions
        ),
        assess_diversity(candidate, champion, policy.diversity, regions),
    ]


def _list_regions(prompts: Sequence[JudgedPrompt]) -> list[str]:
    return [prompt.prompt_hash if prompt.region is None else prompt.region for prompt in prompts]


def _assess_measured(prompts: Sequence[JudgedPrompt], generation: dict[str, Any], policy: Policy) -> list[GateResult]:
    """Assess what was measured beside the answers that people see; what was not measured has no gate."""
    gates = []
    if (cut := generation.get("cut")) is not None:
        ours, theirs = ([prompt.prompt_hash in cut[side] for prompt in prompts] for side in ("candidate", "champion"))
        told = f"cut at {generation.get('settings', {}).get('max_new_tokens')} tokens"
        gates.append(assess_trait("cut_answers", told, ours, theirs, policy.cut_answers, _list_regions(prompts)))
    suite, harm = generation.get("suite"), generation.get("harmful") or {}
    said = find_said({prompt.prompt_hash: prompt.candidate for prompt in prompts}, policy.safety)
    if suite is not None:
        said += suite["said"]
        gates.append(assess_forgetting(count_solved(suite["solved"]), policy.forgetting))
    if pairs := generation.get("held_out_pairs"):
        held_out = msgspec.convert(pairs, list[HeldOutPair])
        gates += assess_pair_accuracy(held_out, policy.pair_accuracy, policy.pair_accuracy_length_matched)
    if (tasks := generation.get("tasks")) is not None:
        gates.append(assess_tasks(tasks, policy.tasks))
    examined = len(prompts) + len(suite["solved"] if suite else ())
    safety = assess_safety(examined, said, harm.get("prompts", 0), harm.get("repeated", []), policy.safety)
    gates.append(safety)
    gates += assess_expense(generation, policy)
    if (divergences := generation.get("kl_to_champion")) is not None:
        gates.append(assess_kl(divergences, policy.kl_to_champion))
    return gates


def assess_movement(unmeasured_kl: str | None) -> list[GateResult]:
    """Return no gate where training held the candidate's KL against its ceiling; inconclusive where it could not."""
    if unmeasured_kl is None:
        return []
    return [GateResult(name="kl", verdict="inconclusive", summary=f"cause: error; {unmeasured_kl}", cause="error")]


def assess_generation(candidate_version: str, generation: dict[str, Any], answered: int) -> GateResult | None:
    """Return None when there are answers. A candidate that cannot answer fails; anything else is inconclusive."""
    if answered:
        return None
    failure = generation.get("failure")
    if failure is None:
        prompts = generation.get("prompts", 0)
        summary = f"none of {prompts} gate prompts was answered" if prompts else "there are no gate prompts to judge by"
        return GateResult(name="generation", verdict="inconclusive", summary=summary, n=0)
    version = failure.get("version")
    guilty = version is not None and version == candidate_version
    return GateResult(
        name="generation",
        verdict="fail" if guilty else "inconclusive",
        summary=f"no answers{f' from version {version}' if version else ''}: {read_summary(failure)}",
        n=0,
        cause=None if guilty else "error",
    )
