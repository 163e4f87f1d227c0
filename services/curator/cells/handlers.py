"""Embed prompts as they wait, and place them when a dataset is frozen."""

from dataclasses import dataclass

import structlog
from sqlalchemy.orm import Session

from services.curator.cells import repository
from services.curator.cells.domain.placement import Unplaced, place
from services.curator.cells.domain.questions import derive_turns
from services.curator.cells.domain.vectors import Vectors, mix
from services.curator.cells.ports import Embedder
from services.curator.cells.repository import AskedPrompt
from shared.db import SessionFactory, exclude_holders

logger = structlog.get_logger(__name__)

EMBEDDED_AT_ONCE = 256
RENEWED_AT_ONCE = 2_000
BATCHES_AT_ONCE = 20


def embed_waiting(session: Session, embedder: Embedder, limit: int = EMBEDDED_AT_ONCE) -> int:
    """Embed prompts that have no vector of this embedder yet; how many. The same prompt has the same vector always."""
    waiting = repository.load_unembedded(session, embedder.version, limit)
    if waiting:
        vectors = embed_prompts(waiting, embedder)
        repository.save_vectors(session, [prompt.prompt_hash for prompt in waiting], vectors, embedder.version)
    return len(waiting)


def embed_prompts(prompts: list[AskedPrompt], embedder: Embedder) -> Vectors:
    """Embed what each prompt asks: (n, d)."""
    turns = [derive_turns(prompt.messages) for prompt in prompts]
    said = [turn for of_prompt in turns for turn in of_prompt]
    vectors = embedder.embed([turn.text for turn in said])
    return mix(vectors, [turn.weight for turn in said], [len(of_prompt) for of_prompt in turns])


def place_new(session: Session, embedder: Embedder) -> int:
    """Place every prompt that has no cell yet; how many. All at once: their order of arrival decides nothing."""
    while embed_waiting(session, embedder):
        pass
    return _place(session, repository.list_new(session), embedder.version)


def renew_cells(session: Session, embedder: Embedder) -> int:
    """Place a batch of prompts whose cells are of another embedder; how many.

    Prompts of train come first and stay in train, so that what was near to them in the gate leaves it.
    """
    exclude_holders(session, repository.CELLS_LOCK)
    if not (outdated := repository.list_outdated(session, embedder.version, RENEWED_AT_ONCE)):
        return 0
    while embed_waiting(session, embedder):
        pass
    return _place(session, outdated, embedder.version)


def renew_all_cells(session: Session, embedder: Embedder) -> None:
    """Finish what `renew_cells` began, each batch in a transaction of its own on another connection."""
    while True:
        with Session(session.get_bind().engine) as own, own.begin():
            if not (renewed := renew_cells(own, embedder)):
                return
        logger.info("cells_renewed", prompts=renewed, embedder=embedder.version)


@dataclass(frozen=True)
class CellKeeper:
    """Does ahead, a little at a time, what a freeze would have to do first."""

    sessions: SessionFactory
    embedder: Embedder

    def tend(self) -> None:
        """Renew outdated cells and embed new prompts, a bounded number."""
        for do_batch in (renew_cells, _embed_alone):
            for _ in range(BATCHES_AT_ONCE):
                with self.sessions() as session, session.begin():
                    if not do_batch(session, self.embedder):
                        break


def _embed_alone(session: Session, embedder: Embedder) -> int:
    exclude_holders(session, repository.CELLS_LOCK)
    return embed_waiting(session, embedder)


def _place(session: Session, prompts: list[Unplaced], version: str) -> int:
    if not prompts:
        return 0
    vectors = repository.load_vectors(session, [prompt.prompt_hash for prompt in prompts])
    stored = repository.load_anchors(session, version)
    placement = place(prompts, vectors, stored, repository.count_held(session, version), version)
    repository.save_cells(session, placement.cells)
    repository.move_prompts(session, placement.prompts)
    return len(prompts)
