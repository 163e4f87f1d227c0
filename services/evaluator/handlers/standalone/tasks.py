"""A team's own tasks in an evaluation without the rest of the system."""

from typing import Any

from services.evaluator.handlers.standalone.order import CANDIDATE, CHAMPION, Order, World
from services.evaluator.handlers.tasks import Champion


def run_tasks(order: Order, world: World) -> dict[str, Any]:
    """Return what both models made of the tasks, if there are any, as the gates read it."""
    if order.tasks is None or world.tasks is None or world.derive_task_job is None:
        return {}
    champion = Champion(world.tasks, world.derive_task_job(order, CHAMPION), lambda: None)
    return {"tasks": champion.pair(world.derive_task_job(order, CANDIDATE))}
