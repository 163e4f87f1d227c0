"""What a try found, as one JSON object."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from cli.trying.answering import Answers
from cli.trying.datasets import Curation
from cli.trying.evidence import Reading
from cli.trying.learning import Trained
from cli.trying.reporting.advice import list_missing
from cli.trying.verdicts import Decision, Estimate, Measure, Score, estimate
from shared.conversation import derive_question

SHOWN = 12
"""Held-out prompts with both answers in the report: the worst, the best, and some between."""
MEASURES = {
    "judge": "answers to held-out prompts, old against new, judged by a model",
    "reward_model": "answers to held-out prompts, old against new, by a reward model fitted on disjoint pairs",
    "rating": "answers to held-out prompts, old against new, rated blind by one person",
}


@dataclass
class Outcome:
    """All that is known at the end of a try, whichever way it ended."""

    model: str
    student: str | None
    reading: Reading
    decision: Decision
    folder: Path
    budget: float
    curation: Curation | None = None
    measure: Measure | None = None
    trained: Trained | None = None
    answers: Answers | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    """The new answer's, by prompt hash."""
    seconds: float = 0.0
    needs: str | None = None
    """What has to be given for more to be said."""


def derive_content(outcome: Outcome) -> dict[str, Any]:
    """Describe the outcome for programs, and for the page."""
    measure, curation = outcome.measure, outcome.curation
    found = measure.estimate if measure and measure.failure is None else None
    return {
        "verdict": outcome.decision.verdict,
        "because": outcome.decision.because,
        "effect": _round(found.effect) if found else None,
        "interval": [_round(found.low), _round(found.high)] if found else None,
        "measure": describe_measure(measure),
        "pairs": curation.pairs if curation else 0,
        "refused": count_refused(outcome),
        "report": str(outcome.folder / "report.html"),
        "missing": list_missing(outcome.decision, measure, curation, outcome.needs),
        "model": outcome.model,
        "student": outcome.student,
        "source": outcome.reading.source,
        "files": [path.name for path in outcome.reading.files],
        "read": describe_reading(outcome.reading),
        "split": describe_split(curation) if curation else None,
        "training": describe_training(outcome.trained),
        "pair_accuracy": describe_pair_accuracy(outcome.answers),
        "answers": list_answers(outcome),
        "candidate": str(outcome.trained.candidate) if outcome.trained else None,
        "deploy": name_deployment(outcome),
        "seconds": round(outcome.seconds, 1),
        "budget_seconds": outcome.budget,
    }


def _round(value: float) -> float:
    return round(value, 4)


def describe_estimate(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else {name: _round(value) for name, value in asdict(found).items()}


def describe_measure(measure: Measure | None) -> dict[str, Any] | None:
    """Describe what the verdict rests on, with what speaks for believing it; None: it rests on nothing."""
    if measure is None:
        return None
    return {
        "kind": measure.kind,
        "name": measure.name,
        "what": MEASURES[measure.kind],
        "found": describe_estimate(measure.estimate),
        "trust": describe_estimate(measure.trust),
        "seat_bias": None if measure.seat_bias is None else _round(measure.seat_bias),
        "failure": measure.failure,
    }


def describe_reading(reading: Reading) -> dict[str, Any]:
    kept = ("records", "answers", "feedback", "unsaid", "refused", "pairs", "labels", "refused_by_rules",
            "unrenderable", "without_answer", "strange_files", "only_the_first_answers")  # fmt: skip
    return {name: reading.report[name] for name in kept}


def count_refused(outcome: Outcome) -> dict[str, int]:
    """Count by reason what was not used: records, pairs by the rules, and what was left out of training."""
    counts: Counter[str] = Counter()
    for place in ("refused", "refused_by_rules"):
        counts.update({reason: found["count"] for reason, found in outcome.reading.report[place].items()})
    counts.update(outcome.curation.refused if outcome.curation else {})
    return dict(sorted(counts.items()))


def describe_split(curation: Curation) -> dict[str, Any]:
    """Describe what was trained on and what was held out, and how near the two come."""
    splits, snapshot = curation.splits, curation.snapshot
    return {
        "prompts": dict(sorted(Counter(splits.splits.values()).items())),
        "regions": len(set(splits.cells.values())),
        "held_out_regions": len({splits.cells[key] for key in splits.select("gate")}),
        "train_pairs": len(snapshot.train),
        "validation_pairs": len(snapshot.validation),
        "held_out_pairs": len(curation.held_out.pairs),
        "labels": len(snapshot.labels),
        "near": len(splits.near.prompts),
        "near_thresholds": dict(splits.near.thresholds),
        "quarantined": len(curation.quarantine.waiting),
        "languages": dict(Counter(splits.languages.values()).most_common()),
    }


def describe_training(trained: Trained | None) -> dict[str, Any] | None:
    if trained is None:
        return None
    return {
        "method": trained.recipe.method,
        "learning_rate": trained.recipe.learning_rate,
        "steps": trained.result.steps,
        "rows": trained.result.pairs,
        "refused_rows": dict(trained.result.refused_rows),
        "summary": trained.result.summary,
        "seconds": round(trained.seconds, 1),
    }


def describe_pair_accuracy(answers: Answers | None) -> dict[str, Any] | None:
    """Describe how often the new model favours the held-out pairs' choices more than the old one: a footnote."""
    pairs = list(answers.pairs.values()) if answers else []
    found = estimate([Score(each.group, 0.5 if each.margin == 0 else float(each.margin > 0)) for each in pairs])
    return describe_estimate(found)


def list_answers(outcome: Outcome) -> list[dict[str, Any]]:
    """List some held-out prompts with both answers: by score, evenly from the worst to the best."""
    if outcome.answers is None or outcome.curation is None:
        return []
    keys = sorted(outcome.answers.both, key=lambda key: (outcome.scores.get(key, 0.5), key))
    return [
        {
            "prompt": derive_question(outcome.curation.conversations[key].messages),
            "old": outcome.answers.old[key],
            "new": outcome.answers.new[key],
            "score": outcome.scores.get(key),
        }
        for key in spread(keys, SHOWN)
    ]


def spread(items: Sequence[str], most: int) -> list[str]:
    """Pick so many items at most, evenly, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


def name_deployment(outcome: Outcome) -> str | None:
    """Name the command that puts the candidate before users; None unless it is better."""
    if outcome.trained is None or outcome.decision.verdict != "better":
        return None
    return f"heliotrope up --model {quote(str(outcome.trained.candidate))}"
