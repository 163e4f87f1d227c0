"""Which cell each prompt belongs to: that of the nearest anchor, or one of its own.

An anchor is a prompt that others gather around: those whose cosine with it is at least its cell's cut. Cells are never
changed once they are stored. What is placed together depends on what it is, not on the order in which it came.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from services.curator.cells.domain.splits import MAY_JOIN, Split, assign_splits
from services.curator.cells.domain.vectors import DIGITS, ROWS_AT_ONCE, Vectors, compare, find_nearest

PLACING_VERSION = 1
CUT = 0.45
"""Cosine from which two questions are taken for one."""
CUT_STEP = 0.05
LAST_CUT = 0.95
"""Beyond it a cell is cut into parts by hash: whoever asks the same a thousand times gets no cell of a thousand."""
LARGEST_SHARE = 0.02
SMALLEST_LIMIT = 4
"""A cell may hold this many, however few prompts there are."""
MOST_ANCHORS = 20_000
"""From then on a prompt joins the nearest cell, however far: what placing costs is bounded."""

Positions = npt.NDArray[np.intp]

RANKS: Mapping[Split | None, int] = {"train": 0, "validation": 1, "gate": 2, None: 3}


@dataclass(frozen=True)
class Unplaced:
    """A prompt without a cell of this embedder; `former` is the split of its earlier cell, if it had one."""

    prompt_hash: str
    former: Split | None = None


@dataclass(frozen=True)
class Anchors:
    """The stored cells, a row each."""

    cells: Sequence[str]
    splits: Sequence[Split]
    cuts: npt.NDArray[np.float32]
    vectors: Vectors
    sizes: Mapping[str, int]
    """How many prompts each holds."""


@dataclass(frozen=True)
class Cell:
    """A new cell around its anchor, which is one of its prompts."""

    cell: str
    split: Split
    anchor: str
    cut: float


@dataclass
class Placement:
    cells: list[Cell] = field(default_factory=list)
    prompts: dict[str, tuple[str, Split]] = field(default_factory=dict)
    """(cell, split) by prompt hash."""


def name_cell(version: str, anchor: str) -> str:
    """Name the cell around a prompt; whoever reads the name cannot tell which prompt it was."""
    return f"{name_cells(version)}-{sha256(anchor.encode()).hexdigest()[:16]}"


def name_cells(version: str) -> str:
    """Name all cells of an embedder."""
    return f"{version}-cells-{PLACING_VERSION}"


def place(
    prompts: Sequence[Unplaced], vectors: Vectors, stored: Anchors, held: Mapping[Split, int], version: str
) -> Placement:
    """Place prompts, a row of `vectors` each, in stored cells or new ones.

    - no cell grows beyond 2% of all prompts
    - a prompt that was in train or validation never comes into the gate; a cell that one of these is the anchor of
      keeps its split, and others are drawn so that the quotas are met
    """
    order = sorted(range(len(prompts)), key=lambda at: (RANKS[prompts[at].former], prompts[at].prompt_hash))
    ordered, rows = [prompts[at] for at in order], vectors[order]
    limit = max(int(LARGEST_SHARE * (sum(held.values()) + len(prompts))), SMALLEST_LIMIT)
    placement = Placement()
    left = _join_stored(ordered, rows, stored, limit, placement)
    ranks = np.array([min(RANKS[prompt.former], RANKS["gate"]) for prompt in ordered], dtype=np.intp)
    groups = _divide(rows, ranks, np.array(left, dtype=np.intp), CUT, limit) if left else ()
    _open_cells(ordered, groups, held, placement, version)
    return placement


def _join_stored(
    prompts: Sequence[Unplaced], vectors: Vectors, stored: Anchors, limit: int, placement: Placement
) -> list[int]:
    """Put prompts into the stored cells they belong to; the positions of the others."""
    if not stored.cells:
        return list(range(len(prompts)))
    sizes = np.array([stored.sizes.get(cell, 0) for cell in stored.cells])
    open_to = {former: np.isin(stored.splits, list(splits)) for former, splits in MAY_JOIN.items()}
    cuts = stored.cuts if len(stored.cells) < MOST_ANCHORS else np.full(len(stored.cells), -1.0)
    left: list[int] = []
    for start, similarities in compare(vectors, stored.vectors):
        for at, row in enumerate(similarities, start):
            fits = (row >= cuts) & (sizes < limit) & open_to[prompts[at].former]
            if not fits.any():
                left.append(at)
                continue
            best = int(np.where(fits, row, -2).argmax())
            sizes[best] += 1
            placement.prompts[prompts[at].prompt_hash] = (stored.cells[best], stored.splits[best])
    return left


@dataclass(frozen=True)
class _Group:
    """The prompts of a new cell, by position; the anchor is one of them."""

    anchor: int
    members: Positions
    cut: float


def _divide(vectors: Vectors, ranks: Positions, members: Positions, cut: float, limit: int) -> Iterator[_Group]:
    """Divide prompts, in order of their ranks, into groups around anchors; those too large again, by a higher cut."""
    anchors = _choose_anchors(vectors, members, cut)
    owners = _find_owners(vectors, ranks, members, anchors)
    for number, anchor in enumerate(anchors):
        group = members[owners == number]
        if len(group) <= limit:
            yield _Group(int(anchor), group, cut)
        elif cut + CUT_STEP <= LAST_CUT:
            yield from _divide(vectors, ranks, group, round(cut + CUT_STEP, DIGITS), limit)
        else:
            parts = (group[start : start + limit] for start in range(0, len(group), limit))
            yield from (_Group(int(part[0]), part, LAST_CUT) for part in parts)


def _choose_anchors(vectors: Vectors, members: Positions, cut: float) -> Positions:
    """Choose as anchors, in order, the members that are near none chosen before."""
    chosen: list[int] = []
    for start in range(0, len(members), ROWS_AT_ONCE):
        block = members[start : start + ROWS_AT_ONCE]
        near = find_nearest(vectors[block], vectors[chosen]) >= cut
        known = len(chosen)
        for at in block[~near]:
            fresh = vectors[chosen[known:]]
            if len(chosen) < MOST_ANCHORS and not (np.round(fresh @ vectors[at], DIGITS) >= cut).any():
                chosen.append(int(at))
    return np.array(chosen, dtype=np.intp)


def _find_owners(vectors: Vectors, ranks: Positions, members: Positions, anchors: Positions) -> Positions:
    """Find each member's nearest anchor, as a number, among those that it may join; an anchor's is itself."""
    owners = np.empty(len(members), dtype=np.intp)
    for start, similarities in compare(vectors[members], vectors[anchors]):
        block = slice(start, start + len(similarities))
        allowed = ranks[anchors][None, :] <= ranks[members[block], None]
        owners[block] = np.where(allowed, similarities, -2).argmax(axis=1)
    owners[np.isin(members, anchors)] = np.arange(len(anchors))
    return owners


def _open_cells(
    prompts: Sequence[Unplaced], groups: Iterable[_Group], held: Mapping[Split, int], placement: Placement, version: str
) -> None:
    """Open a cell for each group, in the split that its anchor had, or else in one that is drawn."""
    named = {name_cell(version, prompts[group.anchor].prompt_hash): group for group in groups}
    splits: dict[str, Split] = {
        cell: former for cell, group in named.items() if (former := prompts[group.anchor].former) is not None
    }
    counted: Counter[Split] = Counter(held)
    counted.update(split for _, split in placement.prompts.values())
    for cell, split in splits.items():
        counted[split] += len(named[cell].members)
    splits |= assign_splits({cell: len(named[cell].members) for cell in named.keys() - splits.keys()}, counted)
    for cell, group in named.items():
        placement.cells.append(Cell(cell, splits[cell], prompts[group.anchor].prompt_hash, group.cut))
        placement.prompts |= {prompts[at].prompt_hash: (cell, splits[cell]) for at in group.members}
