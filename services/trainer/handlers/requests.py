"""A retrain request becomes a run, or one for each of its recipes; an admin may cancel any."""

from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.trainer import repository
from services.trainer.domain.recipe.parsing import calculate_recipe_sha256, dump_recipe
from services.trainer.handlers.completion import finish_run
from services.trainer.ports import LoadRecipe
from shared.errors import Conflict, HeliotropeError
from shared.events import RetrainRequested
from shared.ids import new_id
from shared.tables.trainer import Run

logger = structlog.get_logger(__name__)


def request_run(
    session: Session, event: RetrainRequested, load_recipe: LoadRecipe, *, default_recipe: str, topic_prefix: str
) -> None:
    """Queue a run for each of the request's recipes, once; one that cannot be used fails its run, with the reason."""
    refused: list[tuple[UUID, str]] = []
    for position, name in enumerate(event.recipes or [event.recipe or default_recipe]):
        recipe, problem = _read_recipe(load_recipe, name)
        run = _derive_run(event) | {"recipe_name": name, "recipe_position": position} | recipe
        if not repository.insert_run(session, run):
            continue
        logger.info("run_requested", run_id=str(run["run_id"]), recipe=name, problem=problem)
        if problem:
            refused.append((run["run_id"], problem))
    for run_id, problem in refused:
        row = repository.load_run(session, run_id)
        row.progress = {"cause": "setup"}
        finish_run(session, row, "failed", problem, topic_prefix=topic_prefix)


def _derive_run(event: RetrainRequested) -> dict[str, Any]:
    return {
        "run_id": new_id(),
        "request_id": event.request_id,
        "requested_by": event.requested_by,
        "dataset_sha256": event.dataset_sha256,
        "dataset_uri": event.dataset_uri,
        "parent_version": event.parent_version,
        "deadline_at": event.deadline_at,
        "state": "queued",
    }


def _read_recipe(load_recipe: LoadRecipe, name: str) -> tuple[dict[str, Any], str | None]:
    """Read (what a run's row says of its recipe, why the recipe cannot be used)."""
    try:
        recipe = load_recipe(name)
    except HeliotropeError as error:
        return {"recipe": {"name": name}, "recipe_sha256": ""}, f"recipe {name!r} cannot be used: {error.detail}"
    said = {"recipe": dump_recipe(recipe), "recipe_sha256": calculate_recipe_sha256(recipe)}
    if not recipe.trains_chat_model:
        return said, f"recipe {name!r} cannot be used: it trains no chat model ({recipe.method})"
    return said, None


def cancel_run(session: Session, run_id: UUID, *, by: str, topic_prefix: str) -> Run:
    """End a run that is not finished; its worker notices at its next sign of life. A cancelled run stays as it is.

    Raises:
        NotFound: no such run.
        Conflict: it succeeded or failed.
    """
    run = repository.load_run_for_update(session, run_id)
    if run.state == "cancelled":
        return run
    if run.state not in repository.OPEN_STATES:
        raise Conflict(f"run {run_id} is finished: {run.state}")
    finish_run(session, run, "cancelled", f"cancelled by {by}", topic_prefix=topic_prefix)
    logger.info("run_cancelled", run_id=str(run_id), by=by)
    return run
