"""What became of every pair and label that a snapshot considered: a row each, so that two datasets can be compared."""

from typing import Any

from services.curator.domain.curation import AnyWeighed, Curated
from services.curator.domain.evidence import PairEvidence
from services.curator.domain.snapshot import Snapshot


def derive_ledger(curated: Curated, snapshot: Snapshot) -> list[dict[str, Any]]:
    """By id. `file` is where the item is, None when it was left out for `reason`."""
    files = {pair.item.item_id: "train" for pair in snapshot.train}
    files |= {pair.item.item_id: "validation" for pair in snapshot.validation}
    files |= {label.item.item_id: "labels" for label in snapshot.labels}
    training = [label for label in curated.labels if label.item.split == "train"]
    considered: list[AnyWeighed] = [*curated.pairs, *training]
    return sorted(
        (_describe(one, files, snapshot.left_out) for one in considered),
        key=lambda row: str(row["id"]),
    )


def _describe(one: AnyWeighed, files: dict[str, str], left_out: dict[str, str]) -> dict[str, Any]:
    return {
        "id": one.item.item_id,
        "kind": "pair" if isinstance(one.item, PairEvidence) else "label",
        "rule": one.item.rule,
        "rule_version": one.item.rule_version,
        "epsilon": one.epsilon,
        "file": files.get(one.item.item_id),
        "reason": left_out.get(one.item.item_id),
    }
