"""The candidates of an evaluation before the gates, from their comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.evaluator.domain.entrants import Contest, Entrant, hold_contest
from services.evaluator.domain.policy import read_policy
from services.evaluator.domain.report import JudgedPrompt
from services.evaluator.handlers.entrants import read_generation
from services.evaluator.repository.comparisons import derive_ballot
from services.evaluator.repository.evaluations import list_entrants
from shared.events import TrainingCompleted
from shared.tables.evaluator import Comparison, Evaluation


def judge_entrants(evaluation: Evaluation, comparisons: Sequence[Comparison]) -> tuple[Contest, TrainingCompleted]:
    """Judge every candidate, and return how it went and the training of the one that the evaluation speaks of."""
    trainings = list_entrants(evaluation)
    only = next(iter(trainings)) if len(trainings) == 1 else ""
    ballots = [replace(ballot, candidate=ballot.candidate or only) for ballot in map(derive_ballot, comparisons)]
    entrants = [
        Entrant(
            version,
            _derive_prompts(
                [row for row in comparisons if (row.candidate_version or only) == version],
                evaluation.generation.get("regions", {}),
            ),
            read_generation(evaluation.generation, version),
            training.unmeasured_kl,
        )
        for version, training in trainings.items()
    ]
    contest = hold_contest(entrants, ballots, read_policy(evaluation.generation))
    return contest, trainings[contest.version]


def _derive_prompts(comparisons: Sequence[Comparison], regions: Mapping[str, str]) -> list[JudgedPrompt]:
    """Return each prompt once, in the order of its first look, with its region of prompts."""
    prompts: dict[str, JudgedPrompt] = {}
    for comparison in comparisons:
        sides = comparison.left_answer, comparison.right_answer
        candidate, champion = sides if comparison.candidate_is_left else reversed(sides)
        name = comparison.prompt_hash
        prompts.setdefault(name, JudgedPrompt(name, comparison.messages, candidate, champion, regions.get(name)))
    return list(prompts.values())
