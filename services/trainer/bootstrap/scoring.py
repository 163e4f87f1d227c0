"""Scores of a reward model outside training: for `heliotrope try`."""

from collections.abc import Sequence
from pathlib import Path

from shared.conversation import derive_template_messages
from shared.events import Message

ROWS_AT_ONCE = 16


def score_answers(folder: Path, answers: Sequence[tuple[Sequence[Message], str]]) -> list[float]:
    """Score each answer to its prompt with the reward model in the folder; more is better.

    Raises:
        TrainingFailed: the folder holds no reward model.
    """
    from services.trainer.adapters.methods.models import load_tokenizer  # loads torch, which takes seconds
    from services.trainer.adapters.methods.online.reward_model import build_scorer, load_reward_model

    tokenizer = load_tokenizer(folder)
    score = build_scorer(load_reward_model(folder, tokenizer).eval(), tokenizer)
    scores: list[float] = []
    for start in range(0, len(answers), ROWS_AT_ONCE):
        rows = answers[start : start + ROWS_AT_ONCE]
        prompts = [derive_template_messages(list(messages)) for messages, _ in rows]
        scores += score(prompts=prompts, completions=[[{"role": "assistant", "content": text}] for _, text in rows])
    return scores
