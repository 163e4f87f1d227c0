"""Replay: how much of what earlier snapshots held is learnt again beside what is new."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from services.trainer.domain.recipe_part import Part, PositiveFloat

NotNegative = Annotated[float, Meta(ge=0)]


class Replay(Part, frozen=True, kw_only=True):
    """How old rows are mixed with new ones; see `services.trainer.domain.replay`."""

    ratio: NotNegative | None = None
    """Old rows for each new one. None: every row of the dataset."""
    half_life: PositiveFloat | None = None
    """Snapshots after which a row is half as likely to be drawn. None: age does not count."""
    rule_weights: dict[str, NotNegative] | None = None
    """For `dpo` and `reward`: what a pair's weight is multiplied by, by the rule that made it. None: 1 each."""
    folders: tuple[str, ...] | None = None
    """For `heliotrope train`: earlier snapshots' folders, newest first. Inside the loop their chain is known."""

    @property
    def is_asked_for(self) -> bool:
        return self != Replay()


REASONS = {
    "replay.ratio": "a snapshot weighs the whole history already; a ratio gives what is new a share that does not "
    "shrink as the history grows",
    "replay.half_life": "without drift an old pair teaches as much as a young one",
    "replay.rule_weights": "a rule's doubts are in its pairs' epsilon already; a rule that is not named weighs 1",
    "replay.folders": "inside the loop the curator's chain of datasets is used",
}


@dataclass(frozen=True)
class Earlier:
    """A snapshot before the one that is trained on."""

    name: str
    ids: frozenset[str]
    """Of its pairs and labels."""
    missing: str | None = None
    """Why it cannot be told what it held, if so."""


@dataclass(frozen=True)
class Mix:
    """Which rows are trained on."""

    ids: list[str]
    """In the order in which they were given."""
    new: int
    replayed: dict[str, int]
    """By the snapshot that first held the row."""
    old: int
    """How many there were to draw from."""

    def describe(self) -> dict[str, Any]:
        return {"new": self.new, "replayed": sum(self.replayed.values()), "of": self.old, "first_in": self.replayed}


def choose_rows(ids: Sequence[str], earlier: Sequence[Earlier], replay: Replay, seed: int) -> Mix:
    """The rows to train on; `earlier` is newest first.

    - a row that no earlier snapshot held is new, and taken
    - `ratio` times as many old rows are drawn without replacement, all of them if there are not enough
    - a row's chance halves with each `half_life` snapshots since the one that first held it
    - when nothing is new, or there is no ratio, every row is taken

    Drawn by keys -log(u) / w, the smallest first (Efraimidis and Spirakis 2006), u from a hash of seed and id: the
    draw does not depend on the rows' order, and another snapshot changes it as little as possible.
    """
    first_in = _find_first(ids, earlier)
    new = [row for row in ids if row not in first_in]
    old = [row for row in ids if row in first_in]
    if replay.ratio is None or not new:
        drawn = set(old)
    else:
        count = min(round(replay.ratio * len(new)), len(old))
        drawn = set(sorted(old, key=lambda row: _draw(row, first_in[row], replay, seed))[:count])
    taken = drawn.union(new)
    held = Counter(earlier[first_in[row]].name for row in drawn)
    return Mix([row for row in ids if row in taken], len(new), dict(sorted(held.items())), len(old))


def _find_first(ids: Iterable[str], earlier: Sequence[Earlier]) -> dict[str, int]:
    """Place of the oldest snapshot that held the row, for those that any held."""
    found: dict[str, int] = {}
    wanted = frozenset(ids)
    for place, snapshot in enumerate(earlier):
        found.update(dict.fromkeys(wanted & snapshot.ids, place))
    return found


def _draw(row: str, place: int, replay: Replay, seed: int) -> tuple[float, str]:
    digest = hashlib.sha256(f"{seed}/{row}".encode()).digest()
    u = (int.from_bytes(digest[:8]) + 1) / 2**64
    log_weight = -(place + 1) / replay.half_life * math.log(2) if replay.half_life else 0.0
    return math.log(-math.log(u)) - log_weight if u < 1 else -math.inf, row
