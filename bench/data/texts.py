"""Answers made of words of known worth, in scripts that curation has to read: English, Chinese and code."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.noise.world import WORDS, Item

CHARACTERS = "天地人和山水火木金土日月星云风雨雪花草树石河海湖江城门车马书画琴棋茶酒米面菜果鱼鸟虫鹿牛羊猪狗猫龙虎"
CHINESE = [one + other for at, one in enumerate(CHARACTERS) for other in CHARACTERS[at + 1 : at + 5]][:140]
CODE = [
    f"{name} = {name}_{verb}({arg})"
    for name in WORDS[:35]
    for verb, arg in (("get", 1), ("put", 2), ("pop", 0), ("add", 3))
]
ENGLISH = WORDS


@dataclass
class Writer:
    """Writes answers; an answer's worth is that of its words and something that no word shows."""

    rng: random.Random
    vocabulary: Sequence[str]
    joint: str
    answer_words: int
    hidden_worth: float
    worth: dict[str, float] = field(init=False)
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of every text that was written."""

    def __post_init__(self) -> None:
        self.worth = {word: self.rng.gauss(0, 1) for word in self.vocabulary}

    def compose(self, words: Sequence[str]) -> str:
        text = self.joint.join(words)
        self.words[text] = tuple(words)
        return text

    def make_item(self, number: int) -> Item:
        """Make a prompt with two answers, the better one first."""
        answers = sorted((self._write() for _ in range(2)), reverse=True)
        return Item(number, answers[0][1], answers[1][1])

    def _write(self) -> tuple[float, str]:
        words = self.rng.sample(list(self.vocabulary), self.answer_words)
        hidden = self.rng.gauss(0, self.hidden_worth)
        return sum(self.worth[word] for word in words) + hidden, self.compose(words)

    def rank(self) -> list[str]:
        """List the words, the best first."""
        return sorted(self.vocabulary, key=lambda word: -self.worth[word])

    def edit(self, text: str, *, better: bool) -> str:
        """Replace four words by ones that are better, or worse, and put them at the end."""
        order = sorted(self.words[text], key=lambda word: self.worth[word], reverse=not better)
        best = [word for word in self.rank()[:: 1 if better else -1] if word not in order][:30]
        return self.compose([*order[4:], *self.rng.sample(best, 4)])
