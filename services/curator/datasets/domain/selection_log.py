"""What became of every pair and label that a snapshot considered, and how two snapshots differ."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.curator.datasets.domain.snapshot import Snapshot
from services.curator.weighing.domain.curation import AnyWeighed, Curated
from services.curator.weighing.domain.history import PairEvidence


def derive_selection_log(curated: Curated, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Derive a row for each pair and label, by id; `file` is None when the item was left out for `reason`."""
    files = {pair.item.item_id: "train" for pair in snapshot.train}
    files |= {pair.item.item_id: "validation" for pair in snapshot.validation}
    files |= {label.item.item_id: "labels" for label in snapshot.labels}
    training = [label for label in curated.labels if label.item.split == "train"]
    considered: list[AnyWeighed] = [*curated.pairs, *training]
    return sorted(
        (_describe_item(one, files, snapshot.left_out) for one in considered),
        key=lambda row: str(row["id"]),
    )


def _describe_item(one: AnyWeighed, files: dict[str, str], left_out: dict[str, str]) -> dict[str, Any]:
    return {
        "id": one.item.item_id,
        "kind": "pair" if isinstance(one.item, PairEvidence) else "label",
        "rule": one.item.rule,
        "rule_version": one.item.rule_version,
        "epsilon": one.epsilon,
        "file": files.get(one.item.item_id),
        "reason": left_out.get(one.item.item_id),
    }


SelectionLog = Sequence[Mapping[str, Any]]
WITHDRAWN = "withdrawn: retracted, changed, erased, or set aside with its events"


@dataclass(frozen=True)
class Change:
    """A pair or label that is in one of two datasets only."""

    id: str
    kind: str
    rule: str
    why: str


@dataclass(frozen=True)
class DatasetDiff:
    came: list[Change]
    went: list[Change]
    kept: int
    reweighed: int
    """Of those kept, how many have another epsilon or lie in another file."""

    def count(self, changes: list[Change]) -> dict[tuple[str, str, str], int]:
        """Count the changes by kind, rule and reason."""
        return dict(sorted(Counter((change.kind, change.rule, change.why) for change in changes).items()))


def derive_diff(before: SelectionLog, after: SelectionLog) -> DatasetDiff:
    """Compare the older selection log with the newer one."""
    old, new = ({str(row["id"]): row for row in log} for log in (before, after))
    held = {key for key, row in old.items() if row["file"] is not None}
    holds = {key for key, row in new.items() if row["file"] is not None}
    kept = held & holds
    return DatasetDiff(
        came=[_change(new[key], _why_came(old.get(key))) for key in sorted(holds - held)],
        went=[_change(old[key], _why_went(new.get(key))) for key in sorted(held - holds)],
        kept=len(kept),
        reweighed=sum(
            (old[key]["epsilon"], old[key]["file"]) != (new[key]["epsilon"], new[key]["file"]) for key in kept
        ),
    )


def _change(row: Mapping[str, Any], why: str) -> Change:
    return Change(str(row["id"]), str(row["kind"]), f"{row['rule']} v{row['rule_version']}", why)


def _why_came(before: Mapping[str, Any] | None) -> str:
    return "new evidence" if before is None else f"was left out: {before['reason']}"


def _why_went(after: Mapping[str, Any] | None) -> str:
    return WITHDRAWN if after is None else f"left out: {after['reason']}"
