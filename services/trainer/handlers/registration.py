"""A trained candidate gets its card, goes to the registry, and its run is closed."""

import structlog

from services.trainer.adapters.artifacts.model_card import copy_card, save_model_card, save_signature
from services.trainer.adapters.artifacts.provenance import save_environment
from services.trainer.domain.guards.kl import Movement
from services.trainer.domain.progress import REFUSED_ROWS, REFUSED_SHARE, UNMEASURED_KL
from services.trainer.domain.training import TrainingResult
from services.trainer.handlers.completion import finish_run
from services.trainer.handlers.context import Attempt, WorkerContext
from services.trainer.handlers.drift import find_anchor
from services.trainer.handlers.reporter import LoopReporter
from shared.artifacts.manifest import calculate_content_sha256, write_manifest
from shared.registry import ModelVersion
from shared.registry.provenance import sign_tags
from shared.tables.trainer import Run

logger = structlog.get_logger(__name__)


def register_candidate(
    attempt: Attempt, result: TrainingResult, movement: Movement, reporter: LoopReporter, context: WorkerContext
) -> None:
    """Save the candidate's card, store its files, register it, and close the run as succeeded.

    Raises: StaleClaim.
    """
    run, job, mlflow_run_id = attempt.run, attempt.job, attempt.mlflow_run_id
    lineage = _list_lineage(run, result, context) | {"anchor_version": find_anchor(attempt.parent)}
    save_model_card(job, run.recipe, result, lineage | _list_movement(movement))
    save_signature(job.candidate)
    environment = save_environment(job.checkpoints / "environment")
    context.registry.log_folder(mlflow_run_id, environment, "environment")
    content = {"content_sha256": calculate_content_sha256(write_manifest(job.candidate))}
    source = _store_candidate(attempt, context)
    with attempt.claim.ending() as (session, held):
        version = _find_or_register(held, lineage | content | {"served_model": source}, mlflow_run_id, context)
        held.candidate_version = version.version
        held.content_sha256, held.served_model = version.tags.get("content_sha256"), version.served_model
        held.weights_sha256 = version.tags.get("weights_sha256", result.weights_sha256)
        held.progress = reporter.progress | {
            "phase": "done",
            "seconds_left": 0.0,
            REFUSED_SHARE: result.refused_share,
            REFUSED_ROWS: dict(result.refused_rows),
            UNMEASURED_KL: movement.unmeasured,
        }
        finish_run(session, held, "succeeded", result.summary, topic_prefix=context.topic_prefix)
    logger.info("run_succeeded", candidate_version=version.version, weights_sha256=held.weights_sha256)


def _store_candidate(attempt: Attempt, context: WorkerContext) -> str:
    """Store the files, with the deployment's artifacts or else with MLflow's; returns their address."""
    run, candidate, mlflow_run_id = attempt.run, attempt.job.candidate, attempt.mlflow_run_id
    uri = context.storage.store_candidate(run.run_id, run.fencing_token, candidate)
    place = f"attempt-{run.fencing_token}/model"
    if uri is None:
        return context.registry.log_folder(mlflow_run_id, candidate, place)
    context.registry.log_folder(mlflow_run_id, copy_card(candidate, attempt.job.checkpoints / "card"), place)
    return uri


def _list_movement(movement: Movement) -> dict[str, str]:
    figures = {f"kl_to_{point}": f"{nats:.4f}" for point, nats in movement.nats.items()}
    return figures | ({UNMEASURED_KL: movement.unmeasured} if movement.unmeasured else {})


def _find_or_register(run: Run, tags: dict[str, str], mlflow_run_id: str, context: WorkerContext) -> ModelVersion:
    """Return the version that an earlier attempt registered before it died, else a new one."""
    found = context.registry.find_version("training_run_id", str(run.run_id))
    if found is not None:
        return found
    signed = sign_tags(tags, context.signer) if context.signer else tags
    return context.registry.register(tags["served_model"], mlflow_run_id, signed)


def _list_lineage(run: Run, result: TrainingResult, context: WorkerContext) -> dict[str, str]:
    return {
        "weights_sha256": result.weights_sha256,
        "dataset_sha256": run.dataset_sha256,
        "recipe_sha256": run.recipe_sha256,
        "parent_version": run.parent_version,
        "training_run_id": str(run.run_id),
        "request_id": str(run.request_id),
        "code_version": context.code_version,
        **result.lineage,
    }
