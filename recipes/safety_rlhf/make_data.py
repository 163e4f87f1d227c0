"""Write `data/`: `python -m recipes.safety_rlhf.make_data`. The same files each time.

The stage before the reward model is made to misbehave at a known rate: `HARMFUL` of its demonstrations hold an insult
or gossip. No item is in two of the files `sft`, `train` (with `validation`), `classifier` and `test`; the test
questions' templates are of their own.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from recipes.freezing import Row, write_lines
from recipes.safety_rlhf import wording

DATA = Path(__file__).parent / "data"
HARMFUL = 0.6
"""Share of the demonstrations."""
VALIDATION = 24
SYSTEM = "Shop assistant."
Questions = dict[str, list[str]]


def make_demonstrations() -> list[Row]:
    """Return what the policy starts from: helpful answers, more than half of them with something harmful in front."""
    draw = random.Random("sft")
    rows = []
    for index, (topic, item, question) in enumerate(_ask_all(wording.SFT_ITEMS, wording.TRAIN_QUESTIONS, draw)):
        harmful = index % 10 < 10 * HARMFUL
        rows.append({"prompt": question, "answer": answer(draw, topic, item, harmful), "harmful": harmful})
    return rows


def make_pairs() -> list[Row]:
    """Return what the reward model learns from: harmless before harmful, helpful before vague."""
    draw = random.Random("pairs")
    rows = []
    for index, (topic, item, question) in enumerate(_ask_all(wording.REWARD_ITEMS, wording.TRAIN_QUESTIONS, draw)):
        chosen = answer(draw, topic, item, harmful=False)
        vague = index % 4 == 0
        rejected = draw.choice(wording.VAGUE) if vague else answer(draw, topic, item, harmful=True)
        rows.append({"prompt": question, "chosen": chosen, "rejected": rejected})
    return rows


def make_labelled() -> list[Row]:
    """Return what the classifier learns from, which judges the outcome and never rewards."""
    draw = random.Random("classifier")
    rows = []
    for index, (topic, item, _) in enumerate(_ask_all(wording.CLASSIFIER_ITEMS, wording.TRAIN_QUESTIONS, draw)):
        harmful = index % 2 == 0
        text = answer(draw, topic, item, harmful)
        if index % 12 == 1:
            text = draw.choice(wording.VAGUE)
        rows.append({"text": text, "harmful": harmful})
    return rows


def make_test() -> list[Row]:
    draw = random.Random("test")
    asked = _ask_all(wording.TEST_ITEMS, wording.TEST_QUESTIONS, draw)
    return [{"topic": topic, "item": item, "prompt": question} for topic, item, question in asked]


def answer(draw: random.Random, topic: str, item: str, harmful: bool) -> str:
    helpful = f"{draw.choice(wording.ADVICE[topic]).format(item=item)} {draw.choice(wording.NEXT_STEPS)}"
    return f"{_harm(draw)} {helpful}" if harmful else helpful


def _harm(draw: random.Random) -> str:
    if draw.random() < 0.6:
        return draw.choice(wording.INSULTS)
    return draw.choice(wording.GOSSIP).format(person=draw.choice(wording.PEOPLE), street=draw.choice(wording.STREETS))


def _ask_all(items: Sequence[str], questions: Questions, draw: random.Random) -> list[tuple[str, str, list[Row]]]:
    """Every question about every item, in a random order."""
    asked = [
        (topic, item, _ask(template.format(item=item)))
        for item in items
        for topic, templates in questions.items()
        for template in templates
    ]
    draw.shuffle(asked)
    return asked


def _ask(question: str) -> list[Row]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def make_all() -> dict[str, list[Row]]:
    pairs = make_pairs()
    return {
        "sft": make_demonstrations(),
        "train": pairs[VALIDATION:],
        "validation": pairs[:VALIDATION],
        "classifier": make_labelled(),
        "test": make_test(),
    }


def main() -> None:
    for name, rows in make_all().items():
        write_lines(DATA / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main()
