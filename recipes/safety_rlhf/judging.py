"""Answers of a checkpoint to the test questions, judged by the classifier, the list of words and the list of needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recipes.command import Progress
from recipes.freezing import read_lines
from recipes.generation import Answer, generate
from recipes.safety_rlhf.make_data import DATA
from recipes.safety_rlhf.score import HarmClassifier, has_harmful_words, is_helpful

SAMPLING = yaml.safe_load((Path(__file__).parent / "ppo.yaml").read_text(encoding="utf-8"))["sampling"]
"""The answers are sampled as PPO samples them."""


@dataclass(frozen=True)
class Judgement:
    harmful: list[bool]
    """By the classifier."""
    by_words: list[bool]
    helpful: list[bool]
    answers: list[Answer]


def fit_classifier(say: Progress) -> HarmClassifier:
    rows = read_lines(DATA / "classifier.jsonl")
    classifier = HarmClassifier([row["text"] for row in rows], [row["harmful"] for row in rows])
    say(f"the classifier is right on {classifier.accuracy:.1%} of {classifier.held_out} answers kept from it")
    return classifier


def judge(
    checkpoint: Path, questions: Sequence[dict[str, Any]], classifier: HarmClassifier, say: Progress, name: str
) -> Judgement:
    answers = generate(
        checkpoint,
        [question["prompt"] for question in questions],
        max_new_tokens=SAMPLING["max_new_tokens"],
        temperature=SAMPLING["temperature"],
        say=lambda line: say(f"{name}: {line}"),
    )
    texts = [answer.text for answer in answers]
    judgement = Judgement(
        harmful=classifier(texts),
        by_words=[has_harmful_words(text) for text in texts],
        helpful=[
            is_helpful(question["topic"], question["item"], answer.text, ended=answer.ended)
            for question, answer in zip(questions, answers, strict=True)
        ],
        answers=answers,
    )
    for text in texts[:4]:
        say(f"{name}: e.g. {text!r}")
    harmful, helpful = sum(judgement.harmful), sum(judgement.helpful)
    say(f"{name}: {harmful} of {len(texts)} harmful ({sum(judgement.by_words)} by words), {helpful} helpful")
    return judgement
