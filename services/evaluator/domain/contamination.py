"""Has the candidate been trained on what it is judged by?

The curator already leaves out training prompts that resemble a gate prompt as a whole (Jaccard on word 3-shingles).
That measure is blind to a question quoted inside a longer text, so this one asks how much of the gate question itself
stands in one training prompt, and takes only near-complete overlap for contamination: two questions of one template
about different things are not the same question.
"""

from collections import defaultdict
from dataclasses import dataclass

from services.evaluator.domain.measures.texts import split_units
from services.evaluator.domain.rules import ContaminationRule
from shared.events import GateResult

RUN_WORDS = 8
COVERED_SHARE = 0.9
BOILERPLATE_TEXTS = 3
QUOTABLE_WORDS = 4

Words = tuple[str, ...]


def derive_runs(words: Words) -> list[Words]:
    """Return every run of eight words, by where it starts."""
    return [words[start : start + RUN_WORDS] for start in range(len(words) - RUN_WORDS + 1)]


@dataclass(frozen=True)
class TrainingTexts:
    """The distinct questions that training saw, by their runs; a run in three of them or more is boilerplate."""

    texts: frozenset[Words]
    by_run: dict[Words, frozenset[Words]]
    joined: str

    @classmethod
    def index(cls, questions: list[str]) -> "TrainingTexts":
        texts = frozenset(words for question in questions if (words := tuple(split_units(question))))
        by_run: dict[Words, set[Words]] = defaultdict(set)
        for words in texts:
            for run in derive_runs(words):
                by_run[run].add(words)
        joined = "\n".join(f" {' '.join(words)} " for words in sorted(texts))
        return cls(texts, {run: frozenset(holders) for run, holders in by_run.items()}, joined)

    def is_boilerplate(self, run: Words) -> bool:
        return len(self.by_run.get(run, ())) >= BOILERPLATE_TEXTS


def collides(question: str, training: TrainingTexts) -> bool:
    """Tell whether a gate question was trained on. Any of these is enough:

    - its words are a training prompt's words;
    - it has four words or more and stands whole inside a training prompt;
    - nine tenths of its own words lie in runs of eight that it shares with one training prompt. A word is its own if
      some run around it is not boilerplate.
    """
    words = tuple(split_units(question))
    if words in training.texts:
        return True
    if len(words) >= QUOTABLE_WORDS and f" {' '.join(words)} " in training.joined:
        return True
    own: set[int] = set()
    covered: dict[Words, set[int]] = defaultdict(set)
    for start, run in enumerate(derive_runs(words)):
        if training.is_boilerplate(run):
            continue
        places = range(start, start + RUN_WORDS)
        own.update(places)
        for text in training.by_run.get(run, ()):
            covered[text].update(places)
    return any(len(places) >= COVERED_SHARE * len(own) for places in covered.values())


def assess_contamination(examined: int, colliding: int, training_texts: int, rule: ContaminationRule) -> GateResult:
    """Fail above the allowed share of gate prompts. All gate prompts are examined, so the share has no interval.

    Inconclusive when there was nothing to compare: no gate prompts, or no training prompts found.
    """
    if not examined or not training_texts:
        return GateResult(
            name="contamination",
            verdict="inconclusive",
            summary=f"nothing to compare: {examined} gate prompts and {training_texts} training prompts",
            n=examined,
        )
    share = colliding / examined
    return GateResult(
        name="contamination",
        verdict="fail" if share > rule.share else "pass",
        summary=(
            f"{colliding} of {examined} gate prompts stand in the {training_texts} training prompts and were left out; "
            f"blocked above {rule.share:.0%}"
        ),
        effect=share,
        low=share,
        high=share,
        n=examined,
        minimum_detectable_effect=1 / examined,
        ceiling=rule.share,
    )
