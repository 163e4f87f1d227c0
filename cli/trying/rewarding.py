"""A reward model as the judge: fitted on pairs that the policy never saw, and believed only if it is good enough."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.trying.answering import Answers
from cli.trying.verdicts import Estimate, Measure, Score, compare, estimate
from services.curator.weighing.domain.history import PairEvidence
from services.trainer.bootstrap.scoring import score_answers
from shared.conversation import Conversation

NAME = "a reward model that was fitted on other pairs of the same file"
MOST_UNSEEN = 200
"""Pairs that its accuracy is measured on."""
LEAST_PAIRS = 60
"""Training pairs of the file from which on a part is taken from the policy for it."""


def measure_accuracy(
    model: Path, pairs: Sequence[PairEvidence], conversations: Mapping[str, Conversation], cells: Mapping[str, str]
) -> Estimate | None:
    """Measure how often the reward model prefers what users preferred, of pairs that it was not fitted on."""
    rows = [(conversations[pair.prompt_hash].messages, text) for pair in pairs for text in (pair.chosen, pair.rejected)]
    scores = score_answers(model, rows)
    return estimate(
        [
            Score(cells[pair.prompt_hash], compare(chosen, rejected))
            for pair, chosen, rejected in zip(pairs, scores[::2], scores[1::2], strict=True)
        ]
    )


def measure_by_reward(
    model: Path,
    answers: Answers,
    conversations: Mapping[str, Conversation],
    cells: Mapping[str, str],
    accuracy: Estimate | None,
) -> tuple[Measure, dict[str, float]]:
    """Compare both models' answers to each held-out prompt by the reward model's scores; also returns which it
    preferred."""
    both = answers.both
    rows = [(conversations[key].messages, side[key]) for key in both for side in (answers.new, answers.old)]
    scores = score_answers(model, rows)
    preferred = {
        key: 0.5 if answers.new[key] == answers.old[key] else compare(new, old)
        for key, new, old in zip(both, scores[::2], scores[1::2], strict=True)
    }
    found = estimate([Score(cells[key], value) for key, value in preferred.items()])
    return Measure("reward_model", NAME, found, accuracy), preferred
