"""Quarantine between the tables and the rules: what people decided, and what waits for them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from services.curator.domain.curation import AnyWeighed, Curated
from services.curator.domain.evidence import Evidence, History, PairEvidence
from services.curator.domain.quarantine import Decisions, Quarantine
from shared.tables.quarantine import QuarantineDecision


def read_decisions(rows: Iterable[QuarantineDecision]) -> Decisions:
    """The newest decision on each subject, sorted by what it is about."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        kind = "item" if row.subject_kind in ("pair", "label") else row.subject_kind
        found[kind, row.decision].add(row.subject_id)
    return Decisions(
        events_released=frozenset(UUID(key) for key in found["event", "release"]),
        events_rejected=frozenset(UUID(key) for key in found["event", "reject"]),
        users_released=frozenset(found["user", "release"]),
        users_rejected=frozenset(found["user", "reject"]),
        items_released=frozenset(found["item", "release"]),
        items_rejected=frozenset(found["item", "reject"]),
    )


def describe_quarantined(history: History, quarantine: Quarantine, curated: Curated) -> list[dict[str, Any]]:
    """A row for each user with events in quarantine, and for each contested pair and label, with both sides' evidence.

    `history` is the one from which nothing was set aside yet.
    """
    of_user: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for event_id, reason in sorted(quarantine.waiting.items()):
        user = history.said[event_id].user
        if user is not None:
            of_user[user][reason].append(str(event_id))
    users = [_describe_user(user, reasons) for user, reasons in sorted(of_user.items())]
    return users + _describe_contested("pair", curated.pairs) + _describe_contested("label", curated.labels)


def _describe_user(user: str, reasons: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "subject_kind": "user",
        "subject_id": user,
        "reason": max(sorted(reasons), key=lambda reason: len(reasons[reason])),
        "detail": {"events": dict(reasons)},
    }


def _describe_contested(kind: str, weighed: Sequence[AnyWeighed]) -> list[dict[str, Any]]:
    contested = [one for one in weighed if one.reason == "contested"]
    sides: dict[tuple[object, ...], list[AnyWeighed]] = defaultdict(list)
    for one in contested:
        sides[_name_side(one.item)].append(one)
    return [
        {
            "subject_kind": kind,
            "subject_id": one.item.item_id,
            "reason": "contested",
            "detail": {
                "prompt_hash": one.item.prompt_hash,
                "epsilon": one.epsilon,
                "evidence": [str(event_id) for event_id in one.item.evidence],
                "against": [
                    {"id": other.item.item_id, "evidence": [str(event_id) for event_id in other.item.evidence]}
                    for other in sides[_name_opposite(one.item)]
                ],
            },
        }
        for one in contested
    ]


def _name_side(item: Evidence) -> tuple[object, ...]:
    if isinstance(item, PairEvidence):
        return item.prompt_hash, item.chosen.strip(), item.rejected.strip()
    return item.prompt_hash, item.completion.strip(), item.desirable


def _name_opposite(item: Evidence) -> tuple[object, ...]:
    if isinstance(item, PairEvidence):
        return item.prompt_hash, item.rejected.strip(), item.chosen.strip()
    return item.prompt_hash, item.completion.strip(), not item.desirable
