"""Replay: how much of what earlier snapshots held is learnt again beside what is new."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.trainer.domain.recipe.sections import Replay


@dataclass(frozen=True)
class EarlierSnapshot:
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
        """Describe the mix in figures, for the run's record."""
        return {"new": self.new, "replayed": sum(self.replayed.values()), "of": self.old, "first_in": self.replayed}


def choose_rows(ids: Sequence[str], earlier: Sequence[EarlierSnapshot], replay: Replay, seed: int) -> Mix:
    """Choose the rows to train on; `earlier` is newest first.

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


def _find_first(ids: Iterable[str], earlier: Sequence[EarlierSnapshot]) -> dict[str, int]:
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
