"""What several tests build: events of a small shop, routing tables, recipes; whole but for what a test is about.

Ids may be plain numbers, so that a test can name them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from services.curator.cells.adapters.universal_sentence_encoder import UniversalSentenceEncoder
from services.curator.cells.domain.near_gate import NearGate
from services.curator.datasets.domain.manifest import Splitting
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from shared.artifacts import Artifacts
from shared.events import AnyFeedback, Choice, FeedbackReceived, InteractionRecorded, Route, RoutingTable
from shared.ids import new_id
from shared.tables.evaluator import Comparison, Evaluation

EMBEDDER = UniversalSentenceEncoder()
"""Loads its weights once for a test process, at the first text."""
MORNING = datetime(2026, 11, 22, 9, tzinfo=UTC)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def make_id(number: int | UUID) -> UUID:
    return number if isinstance(number, UUID) else UUID(int=number)


def make_interaction(
    interaction_id: int | UUID,
    question: str = "Where is my lamp?",
    answer: str = "On its way.",
    **changes: Any,
) -> InteractionRecorded:
    """An answer of version 1 to a question of one turn, at noon, to a caller without a name."""
    fields: dict[str, Any] = {
        "interaction_id": make_id(interaction_id),
        "messages": [{"role": "user", "content": question}],
        "answer": answer,
        "model_version": "1",
        "served_at": NOON,
        "key_id": "shop",
    }
    return InteractionRecorded(**fields | changes)


def make_feedback(
    event_id: int | UUID, interaction_id: int | UUID, feedback: AnyFeedback, **changes: Any
) -> FeedbackReceived:
    """Feedback on an answer, received at noon from a caller without a name."""
    fields: dict[str, Any] = {
        "event_id": make_id(event_id),
        "interaction_id": make_id(interaction_id),
        "feedback": feedback,
        "received_at": NOON,
        "key_id": "shop",
    }
    return FeedbackReceived(**fields | changes)


def make_choice(one: int | UUID, other: int | UUID, preferred: int | UUID | None = None) -> Choice:
    """A choice between two answers, shown in this order; without `preferred`, the first is preferred."""
    order = [make_id(one), make_id(other)]
    return Choice(
        other_interaction_id=order[1],
        presented_order=order,
        preferred_interaction_id=order[0] if preferred is None else make_id(preferred),
    )


def make_splitting(gate_prompts: int = 0) -> Splitting:
    """What a manifest says of the cells where none were renewed and nothing was near to the gate."""
    return Splitting("use-m3-cells-1", {}, NearGate(frozenset(), {"other": 0.6}, {"other": 1}, gate_prompts))


def make_route(version: str = "1", base_url: str = "http://127.0.0.1:8006/v1", model: str | None = None) -> Route:
    """Where a version is served, under a model name of its own."""
    return Route(version=version, model=model or f"/models/{version}", base_url=base_url)


def make_routing(champion: Route | None = None, **changes: Any) -> RoutingTable:
    """The first table of the family, with a champion alone."""
    fields: dict[str, Any] = {"generation": 1, "family": "heliotrope", "salt": "tests"}
    return RoutingTable(champion=champion or make_route(), **fields | changes)


def make_artifacts(folder: Path) -> Artifacts:
    """Artifacts that stay where they are, and a cache beside the folder."""
    return Artifacts(folder.with_name("cache"), max_cache_bytes=1 << 30)


def make_recipe(**settings: Any) -> Recipe:
    """A run of DPO for six steps."""
    content: dict[str, Any] = {"name": "tiny", "method": "dpo", "max_steps": 6}
    return parse_recipe(content | settings)


def make_evaluation(
    request_id: UUID, *comparisons: Mapping[str, Any], state: str = "voting"
) -> tuple[Evaluation, list[Comparison]]:
    """Make an evaluation of version 2 against 1 with these comparisons, each given by what it changes."""
    evaluation = Evaluation(
        evaluation_id=new_id(),
        request_id=request_id,
        run_id=new_id(),
        candidate_version="2",
        champion_version="1",
        training={},
        state=state,
        deadline_at=datetime.now(UTC),
    )
    plain = {"messages": [], "left_answer": "Yes.", "right_answer": "No.", "candidate_is_left": True}
    shown = [
        Comparison(
            **{"comparison_id": new_id(), "position": position, "prompt_hash": str(position)} | plain | dict(changes),
            evaluation_id=evaluation.evaluation_id,
        )
        for position, changes in enumerate(comparisons)
    ]
    return evaluation, shown
