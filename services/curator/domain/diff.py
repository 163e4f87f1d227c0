"""What came into a dataset, what went, and why: from the ledgers of two snapshots."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Ledger = Sequence[Mapping[str, Any]]
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
        """By kind, rule and why."""
        return dict(sorted(Counter((change.kind, change.rule, change.why) for change in changes).items()))


def derive_diff(before: Ledger, after: Ledger) -> DatasetDiff:
    """From the older ledger to the newer one."""
    old, new = ({str(row["id"]): row for row in ledger} for ledger in (before, after))
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
