"""Drift: how far a candidate has moved from its parent and from the anchor of its line."""

from pathlib import Path

import structlog

from services.trainer.domain.guards.kl import Point, assess_drift
from services.trainer.domain.training import Job, TrainingFailed
from services.trainer.ports import MeasureKL
from shared.errors import HeliotropeError, NotFound
from shared.registry import ModelRegistry, ModelVersion

logger = structlog.get_logger(__name__)


def find_anchor(parent: ModelVersion) -> str:
    """Return the version that the parent's whole line started from; an adopted champion is its own anchor."""
    return parent.tags.get("anchor_version", parent.version)


def locate_anchor(parent: ModelVersion, registry: ModelRegistry) -> Path | None:
    """Find the folder of the anchor; None when the version or its files are gone."""
    try:
        folder = Path(registry.load_version(find_anchor(parent)).served_model)
    except NotFound as error:
        logger.warning("anchor_not_found", reason=error.detail)
        return None
    return folder if folder.is_dir() else None


def measure_drift(job: Job, anchor: Path | None, measure_kl: MeasureKL) -> dict[Point, float]:
    """Measure the candidate's KL to its parent and to the anchor, in nats a token.

    What cannot be measured is left out, unless the recipe has a ceiling for it.

    Raises:
        TrainingFailed: above the recipe's ceiling.
    """
    if not job.recipe.drift.examples:
        return {}
    points: dict[Point, Path] = {"parent": job.parent}
    if anchor is not None:
        points["anchor"] = anchor
    try:
        measured = measure_kl(job, points)
    except HeliotropeError:
        raise
    except Exception as error:
        if job.recipe.drift.has_ceiling:
            raise
        logger.warning("drift_not_measured", error=repr(error))
        return {}
    logger.info("drift_measured", anchor=str(anchor), kl_nats=dict(measured))
    if problem := assess_drift(measured, job.recipe.drift):
        raise TrainingFailed(problem, "guard")
    return measured
