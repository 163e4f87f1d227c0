"""A retrain request becomes a run; an admin may cancel it."""

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
    """Queue a run for the request, once; a recipe that cannot be used fails the run, with the reason."""
    run: dict[str, Any] = {
        "run_id": new_id(),
        "request_id": event.request_id,
        "requested_by": event.requested_by,
        "dataset_sha256": event.dataset_sha256,
        "dataset_uri": event.dataset_uri,
        "parent_version": event.parent_version,
        "deadline_at": event.deadline_at,
        "state": "queued",
    }
    name = event.recipe or default_recipe
    problem: str | None = None
    try:
        recipe = load_recipe(name)
        if not recipe.trains_chat_model:
            problem = f"recipe {name!r} cannot be used: it trains no chat model ({recipe.method})"
        run |= {"recipe": dump_recipe(recipe), "recipe_sha256": calculate_recipe_sha256(recipe)}
    except HeliotropeError as error:
        problem = f"recipe {name!r} cannot be used: {error.detail}"
        run |= {"recipe": {"name": name}, "recipe_sha256": ""}
    if not repository.insert_run(session, run):
        return
    logger.info("run_requested", run_id=str(run["run_id"]), recipe=name, problem=problem)
    if problem:
        refused = repository.load_run(session, run["run_id"])
        refused.progress = {"cause": "setup"}
        finish_run(session, refused, "failed", problem, topic_prefix=topic_prefix)


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
