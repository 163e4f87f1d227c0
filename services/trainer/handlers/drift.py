"""Drift: how far a candidate has moved from its parent and from the anchor of its line."""

from pathlib import Path

import structlog

from services.trainer.domain.guards.kl import Point, assess_drift
from services.trainer.domain.training import Job, TrainingFailed
from services.trainer.ports import MeasureKL
from shared.errors import NotFound
from shared.registry import ModelRegistry, ModelVersion

logger = structlog.get_logger(__name__)


def find_anchor(parent: ModelVersion) -> str:
    """Return the version that the parent's whole line started from; an adopted champion is its own anchor."""
    return parent.tags.get("anchor_version", parent.version)


def measure_drift(job: Job, parent: ModelVersion, registry: ModelRegistry, measure_kl: MeasureKL) -> dict[Point, float]:
    """Measure the candidate's KL to its parent and to the anchor, in nats a token.

    An anchor whose files are gone is left out.

    Raises:
        TrainingFailed: above the recipe's ceiling.
    """
    if not job.recipe.drift.examples:
        return {}
    points: dict[Point, Path] = {"parent": job.parent}
    try:
        anchor = Path(registry.load_version(find_anchor(parent)).served_model)
        if anchor.is_dir():
            points["anchor"] = anchor
    except NotFound as error:
        logger.warning("anchor_not_found", reason=error.detail)
    measured = measure_kl(job, points)
    logger.info("drift_measured", anchor_version=find_anchor(parent), kl_nats=dict(measured))
    if problem := assess_drift(measured, job.recipe.drift):
        raise TrainingFailed(problem, "guard")
    return measured
