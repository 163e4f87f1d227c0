"""SQL of cells: prompts without one, anchors, and the vectors of both."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import msgspec
import numpy as np
from sqlalchemy import case, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from services.curator.cells.domain.placement import Anchors, Cell, Unplaced, name_cells
from services.curator.cells.domain.splits import Split
from services.curator.cells.domain.vectors import Vectors, pack, unpack
from services.curator.evidence.repository.intake import connection_of, fetch
from shared.events import Message
from shared.tables import curator
from shared.tables.curator import UNPLACED, Interaction, Prompt

CELLS_LOCK = "curator:cells"
"""Held alone by whoever places prompts: what one places, the next finds placed."""

_encoder = msgspec.json.Encoder()


class AskedPrompt(NamedTuple):
    prompt_hash: str
    messages: list[Message]


def load_unembedded(session: Session, version: str, limit: int) -> list[AskedPrompt]:
    """Load prompts without a vector of this embedder, in no order."""
    # Three ranges of an index: `IS DISTINCT FROM` reads the whole table.
    without = or_(Prompt.embedder.is_(None), Prompt.embedder < version, Prompt.embedder > version)
    rows = session.execute(select(Prompt.prompt_hash, Prompt.messages).where(without).limit(limit))
    return [AskedPrompt(prompt_hash, messages) for prompt_hash, messages in rows]


def save_vectors(session: Session, prompt_hashes: Sequence[str], vectors: Vectors, version: str) -> None:
    connection_of(session).execute(
        """
        UPDATE curator.prompts SET embedding = made.embedding, embedder = %s
        FROM unnest(%s::text[], %s::bytea[]) AS made (prompt_hash, embedding)
        WHERE prompts.prompt_hash = made.prompt_hash
        """,
        (version, list(prompt_hashes), pack(vectors)),
    )


def load_vectors(session: Session, prompt_hashes: Collection[str]) -> Vectors:
    """Load the vectors of these prompts, in this order.

    Raises:
        KeyError: one of them has none.
    """
    query = "SELECT prompt_hash, embedding FROM curator.prompts WHERE prompt_hash = ANY(%s)"
    found = dict(fetch(session, query, prompt_hashes)) if prompt_hashes else {}
    return unpack([found[prompt_hash] for prompt_hash in prompt_hashes])


def list_new(session: Session) -> list[Unplaced]:
    """List the prompts that have had no cell yet."""
    query = select(Prompt.prompt_hash).where(Prompt.cell == UNPLACED).order_by(Prompt.prompt_hash)
    return [Unplaced(prompt_hash) for prompt_hash in session.scalars(query)]


def list_outdated(session: Session, version: str, limit: int) -> list[Unplaced]:
    """List prompts whose cells are of another embedder or another way of placing, trained ones first."""
    outdated = ~Prompt.cell.startswith(name_cells(version), autoescape=True)
    order = case((Prompt.split == "train", 0), (Prompt.split == "validation", 1), else_=2)
    query = select(Prompt.prompt_hash, Prompt.split).where(outdated, Prompt.cell != UNPLACED)
    rows = session.execute(query.order_by(order, Prompt.prompt_hash).limit(limit))
    return [Unplaced(prompt_hash, cast("Split", split)) for prompt_hash, split in rows]


def load_anchors(session: Session, version: str) -> Anchors:
    """Load the cells of this embedder, by name, each with the vector of its anchor."""
    cell, anchor = curator.Cell, aliased(Prompt)
    sizes = _count_by_cell(session, version)
    query = (
        select(cell.cell, cell.split, cell.cut, anchor.embedding)
        .join(anchor, anchor.prompt_hash == cell.anchor)
        .where(cell.cell.startswith(name_cells(version), autoescape=True), anchor.embedder == version)
        .order_by(cell.cell)
    )
    rows = session.execute(query).all()
    return Anchors(
        [row.cell for row in rows],
        [cast("Split", row.split) for row in rows],
        np.array([row.cut for row in rows], dtype=np.float32),
        unpack([row.embedding for row in rows]),
        sizes,
    )


def _count_by_cell(session: Session, version: str) -> Mapping[str, int]:
    query = select(Prompt.cell, func.count()).where(Prompt.cell.startswith(name_cells(version), autoescape=True))
    return {cell: count for cell, count in session.execute(query.group_by(Prompt.cell))}  # noqa: C416


def count_held(session: Session, version: str) -> dict[Split, int]:
    """Count the prompts of this embedder's cells by split."""
    query = select(Prompt.split, func.count()).where(Prompt.cell.startswith(name_cells(version), autoescape=True))
    return {cast("Split", split): count for split, count in session.execute(query.group_by(Prompt.split))}


def count_renewed(session: Session) -> dict[str, int]:
    """Count the prompts whose cell was renewed: by the split they came from and that they are in now."""
    moved = (Prompt.former_split, Prompt.split)
    query = select(*moved, func.count()).where(Prompt.former_split.is_not(None))
    rows = session.execute(query.group_by(*moved).order_by(*moved))
    return {f"{before} to {after}": count for before, after, count in rows}


def save_cells(session: Session, cells: Iterable[Cell]) -> None:
    rows = sorted(cells, key=lambda cell: cell.cell)
    connection_of(session).execute(
        """
        INSERT INTO curator.cells (cell, split, anchor, cut)
        SELECT item->>'cell', item->>'split', item->>'anchor', (item->>'cut')::float
        FROM jsonb_array_elements(%s::jsonb) AS item
        """,
        (_encoder.encode(rows).decode(),),
    )


def move_prompts(session: Session, placed: Mapping[str, tuple[str, Split]]) -> None:
    """Put prompts into their cells; who had one before remembers the split it was in."""
    rows = sorted((prompt_hash, cell, split) for prompt_hash, (cell, split) in placed.items())
    connection_of(session).execute(
        """
        UPDATE curator.prompts
        SET cell = placed.cell, split = placed.split,
            former_split = coalesce(former_split, nullif(prompts.split, 'unplaced'))
        FROM unnest(%s::text[], %s::text[], %s::text[]) AS placed (prompt_hash, cell, split)
        WHERE prompts.prompt_hash = placed.prompt_hash
        """,
        tuple([row[part] for row in rows] for part in range(3)),
    )


def list_gate_prompts(session: Session) -> list[str]:
    """List the gate prompts that somebody really asked, by hash."""
    asked = exists().where(Interaction.prompt_hash == Prompt.prompt_hash)
    query = select(Prompt.prompt_hash).where(Prompt.split == "gate", asked)
    return list(session.scalars(query.order_by(Prompt.prompt_hash)))


def load_cells(session: Session, hashes: Collection[str]) -> dict[str, str]:
    """Load the cell of each prompt."""
    query = select(Prompt.prompt_hash, Prompt.cell).where(Prompt.prompt_hash == func.any(list(hashes)))
    return {prompt_hash: cell for prompt_hash, cell in session.execute(query)}  # noqa: C416 - a Row is not a pair to mypy
