"""What the curator holds, counted."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from services.curator.repository import counting, datasets, derived, requests


def summarize(session: Session) -> dict[str, Any]:
    """Counts of evidence and of what became of it."""
    pairs, labels = derived.count_pairs(session), derived.count_labels(session)
    feedback = counting.count_feedback(session)
    return {
        "paused": requests.is_paused(session),
        "interactions": counting.count_interactions(session),
        "events": _sum((kind, count) for kind, _, count in feedback),
        "parked": sum(count for _, state, count in feedback if state == "parked"),
        "expired": sum(count for _, state, count in feedback if state == "expired"),
        "conflicting_events": counting.count_conflicting(session),
        "prompts": counting.count_prompts(session),
        "pairs": {
            "total": sum(count for *_, count in pairs),
            "active": sum(count for _, state, _, count in pairs if state == "active"),
            "by_rule": _sum((rule, count) for rule, state, _, count in pairs if state == "active"),
            "by_state": _sum((state, count) for _, state, _, count in pairs),
            "by_split": _sum((split, count) for _, state, split, count in pairs if state == "active"),
            "by_rule_and_split": {
                rule: _sum((split, count) for each, state, split, count in pairs if state == "active" and each == rule)
                for rule in sorted({rule for rule, state, *_ in pairs if state == "active"})
            },
        },
        "labels": {
            "total": sum(count for *_, count in labels),
            "by_rule": _sum((rule, count) for rule, _, _, count in labels),
            "by_split": _sum((split, count) for *_, split, count in labels),
        },
        "refusals": derived.count_refusals(session),
        "datasets": datasets.count_datasets(session),
    }


def _sum(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for name, count in counts:
        total[name] += count
    return dict(sorted(total.items()))
