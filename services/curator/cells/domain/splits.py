"""The three splits, their quotas, and which cell goes to which."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal

Split = Literal["train", "validation", "gate"]

TRAIN_SHARE = 0.70
VALIDATION_SHARE = 0.10
GATE_SHARE = 0.20

MAY_JOIN: Mapping[Split | None, frozenset[str]] = {
    "train": frozenset({"train"}),
    "validation": frozenset({"train", "validation"}),
    "gate": frozenset({"train", "validation", "gate"}),
    None: frozenset({"train", "validation", "gate"}),
}
"""Which cells a prompt may join that was in this split before: what may have been trained on is never judged by."""


def assign_splits(sizes: Mapping[str, int], held: Mapping[Split, int]) -> dict[str, Split]:
    """Assign new cells, of these many prompts, to splits: in the order of their hashes, cut where the quotas are full.

    `held` counts the prompts that the splits hold already. Quotas are rounded down: five prompts make the first for
    the gate, ten the first for validation. A cell goes where its middle lies.
    """
    total = sum(sizes.values()) + sum(held.values())
    wanted = {
        "gate": max(int(GATE_SHARE * total) - held.get("gate", 0), 0),
        "validation": max(int(VALIDATION_SHARE * total) - held.get("validation", 0), 0),
    }
    splits: dict[str, Split] = {}
    placed = 0
    for cell in order_by_hash(sizes):
        middle = placed + sizes[cell] / 2
        placed += sizes[cell]
        if middle <= wanted["gate"]:
            splits[cell] = "gate"
        elif middle <= wanted["gate"] + wanted["validation"]:
            splits[cell] = "validation"
        else:
            splits[cell] = "train"
    return splits


def order_by_hash(names: Mapping[str, object] | Sequence[str]) -> list[str]:
    """Order cells as by a draw that nobody chose."""
    return sorted(names, key=lambda name: sha256(f"split:{name}".encode()).digest())
