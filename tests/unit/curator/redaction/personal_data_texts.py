"""Labelled texts from templates: what is personal in them, what only looks like it, and how well it was told."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.unit.curator.redaction.personal_data_values import Make

Span = tuple[int, int, str]
Find = Callable[[str], Iterable[Span]]

_SLOT = re.compile(r"<<(\w+)>>")


@dataclass
class LabelledText:
    text: str = ""
    personal: list[Span] = field(default_factory=list)
    look_alikes: list[Span] = field(default_factory=list)


def write_texts(
    templates: Sequence[str],
    positives: Mapping[str, tuple[str, Make]],
    negatives: Mapping[str, Make],
    seed: int,
    rounds: int,
) -> list[LabelledText]:
    """Each template filled in `rounds` times."""
    source = random.Random(seed)
    return [_fill(template, positives, negatives, source) for _ in range(rounds) for template in templates]


def _fill(
    template: str, positives: Mapping[str, tuple[str, Make]], negatives: Mapping[str, Make], source: random.Random
) -> LabelledText:
    labelled, position = LabelledText(), 0
    for slot in _SLOT.finditer(template):
        labelled.text += template[position : slot.start()]
        position, name, start = slot.end(), slot[1], len(labelled.text)
        kind, make = positives[name] if name in positives else ("", negatives[name])
        labelled.text += make(source)
        (labelled.personal if kind else labelled.look_alikes).append((start, len(labelled.text), kind or name))
    labelled.text += template[position:]
    return labelled


@dataclass
class Score:
    """A personal span is told if spans of its kind hold all of it; a found one that touches none is false."""

    told: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, str, str]] = field(default_factory=list)
    false: list[tuple[str, str, str]] = field(default_factory=list)
    look_alikes: int = 0

    @property
    def personal(self) -> int:
        return self.told.total() + len(self.missed)

    @property
    def recall(self) -> float:
        return self.told.total() / self.personal

    @property
    def precision(self) -> float:
        return self.told.total() / (self.told.total() + len(self.false))


def judge(texts: Iterable[LabelledText], find: Find, *, any_kind: bool = False) -> Score:
    score = Score()
    for labelled in texts:
        found = list(find(labelled.text))
        score.look_alikes += len(labelled.look_alikes)
        for start, end, kind in labelled.personal:
            same = [span for span in found if any_kind or span[2] == kind]
            if set(range(start, end)) <= {place for span in same for place in range(span[0], span[1])}:
                score.told[kind] += 1
            else:
                score.missed.append((kind, labelled.text[start:end], labelled.text))
        for start, end, kind in found:
            if not any(start < own_end and own_start < end for own_start, own_end, _ in labelled.personal):
                score.false.append((kind, labelled.text[start:end], labelled.text))
    return score
