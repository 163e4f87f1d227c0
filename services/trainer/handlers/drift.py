"""Drift: how far a candidate has moved from its parent and from the anchor of its line."""

from collections.abc import Callable
from pathlib import Path

import structlog

from services.trainer.domain.guards.kl import Movement, assess_drift, explain_unmeasured
from services.trainer.domain.recipe.sections import Point
from services.trainer.domain.training import Job, TrainingFailed
from services.trainer.ports import MeasureKL
from shared.errors import NotFound, describe_error
from shared.registry import ModelRegistry, ModelVersion

logger = structlog.get_logger(__name__)


def find_anchor(parent: ModelVersion) -> str:
    """Return the version that the parent's whole line started from; an adopted champion is its own anchor."""
    return parent.tags.get("anchor_version", parent.version)


def locate_anchor(
    parent: ModelVersion, registry: ModelRegistry, fetch_model: Callable[[ModelVersion], Path]
) -> Path | None:
    """Find the folder of the anchor; None when the version or its files are gone."""
    try:
        folder = fetch_model(registry.load_version(find_anchor(parent)))
    except (NotFound, TrainingFailed) as error:
        logger.warning("anchor_not_found", reason=error.detail)
        return None
    return folder if folder.is_dir() else None


def measure_drift(job: Job, anchor: Path | None, measure_kl: MeasureKL) -> Movement:
    """Measure the candidate's KL to its parent and to the anchor, in nats a token.

    What cannot be measured, for whatever reason, costs no candidate: the reason is returned where the recipe has a
    ceiling for it.

    Raises:
        TrainingFailed: above the recipe's ceiling.
    """
    drift, reason = job.recipe.drift, "the anchor's files are gone, or no validation answer fits into max_length"
    if not drift.examples:
        return Movement({})
    points: dict[Point, Path] = {"parent": job.parent}
    if anchor is not None:
        points["anchor"] = anchor
    measured: dict[Point, float] = {}
    try:
        measured = measure_kl(job, points)
    except Exception as error:
        logger.warning("drift_not_measured", error=repr(error))
        reason = describe_error(error)
    logger.info("drift_measured", anchor=str(anchor), kl_nats=dict(measured))
    if problem := assess_drift(measured, drift):
        raise TrainingFailed(problem, "guard")
    return Movement(measured, explain_unmeasured(measured, drift, reason))
