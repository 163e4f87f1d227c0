"""A run is carried out: claimed, trained, registered, announced."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from uuid import UUID

import structlog

from services.trainer import repository
from services.trainer.adapters.artifacts.checkpoints import delete_folder, find_newest
from services.trainer.adapters.artifacts.model_card import save_model_card, save_signature
from services.trainer.adapters.artifacts.provenance import save_environment
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Cause, Interrupted, Job, Trained, TrainingFailed
from services.trainer.handlers.claim import Claim, claim_next
from services.trainer.handlers.completion import finish_run
from services.trainer.handlers.drift import Measure, find_anchor, measure_drift
from services.trainer.handlers.replay import load_snapshots, mix_inside_loop
from services.trainer.handlers.reporter import RunWatch
from services.trainer.ports import Mirror, NoMirror, Train
from shared.db import SessionFactory, is_transient
from shared.errors import HeliotropeError, StaleClaim
from shared.registry import ModelRegistry, ModelVersion
from shared.tables.trainer import Run

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Workplace:
    """What a worker needs to carry out runs."""

    sessions: SessionFactory
    registry: ModelRegistry
    train: Mapping[str, Train]
    """The methods, by name."""
    measure: Measure
    """A candidate's KL to other checkpoints."""
    runs_folder: Path
    worker: str
    code_version: str
    topic_prefix: str
    heartbeat_seconds: float
    heartbeat_timeout: timedelta
    stop: threading.Event
    """Set when the worker was told to stop."""
    mirror: Mirror = field(default_factory=NoMirror)


def carry_out(device: str | None, workplace: Workplace) -> None:
    """Carry out the run that is next for this kind of device, if one waits that nobody else takes.

    Every way it can end is on its row and, when final, announced.
    """
    run = claim_next(workplace.sessions, device, workplace.worker, workplace.heartbeat_timeout)
    if run is None:
        logger.info("no_run_claimed", device=device)
        return
    run_id = run.run_id
    with structlog.contextvars.bound_contextvars(run_id=str(run_id), request_id=str(run.request_id)):
        logger.info("run_claimed", token=run.fencing_token)
        claim = Claim(
            workplace.sessions,
            run_id,
            run.fencing_token,
            heartbeat_seconds=workplace.heartbeat_seconds,
            timeout_seconds=workplace.heartbeat_timeout.total_seconds(),
            progress={"notes": run.progress["notes"]} if "notes" in run.progress else {},
        )
        with claim:
            try:
                _carry_out_claimed(run, claim, workplace)
            finally:
                workplace.mirror.leave()


def _carry_out_claimed(run: Run, claim: Claim, workplace: Workplace) -> None:
    try:
        _train_and_register(run, claim, workplace)
    except StaleClaim as error:
        logger.warning("run_given_up", reason=error.detail)
        _tidy_up_if_finished(run.run_id, workplace)
        return
    except Interrupted as error:
        claim.release()
        logger.info("run_released", reason=error.detail)
        return
    except Exception as error:
        if is_transient(error):  # the database is away: the sweeper finds the run, and the next worker its checkpoint
            raise
        logger.error("run_failed", exc_info=not isinstance(error, HeliotropeError), reason=str(error))
        claim.report(cause=_classify(error))
        _fail(claim, workplace, _describe(error))
    _tidy_up_if_finished(run.run_id, workplace)


def _train_and_register(run: Run, claim: Claim, workplace: Workplace) -> None:
    registry = workplace.registry
    folder = workplace.runs_folder / str(run.run_id)
    mlflow_run_id = registry.start_run(f"train {run.request_id}", {"training_run_id": str(run.run_id)})
    with claim.locked() as (_, held):
        held.mlflow_run_id = mlflow_run_id
    params = _list_params(run)
    workplace.mirror.begin(str(run.run_id), f"train {run.request_id}", params | _list_references(run, workplace))
    registry.log_params(mlflow_run_id, params)
    registry.log_dataset(mlflow_run_id, run.dataset_sha256, run.dataset_uri)
    recipe, attempt = parse_recipe(run.recipe), folder / str(run.fencing_token)
    parent = registry.load_version(run.parent_version)
    job = Job(
        recipe=recipe,
        parent=Path(parent.served_model),
        dataset=_prepare_dataset(run, recipe, attempt, mlflow_run_id, workplace),
        checkpoints=attempt,
        resume_from=find_newest(folder, below_token=run.fencing_token),
        candidate=attempt / "candidate",
    )
    logger.info("training_started", resume_from=job.resume_from and job.resume_from.name, recipe=job.recipe.name)
    watch = RunWatch(
        claim, registry, mlflow_run_id, workplace.stop, notes=run.progress.get("notes", ()), mirror=workplace.mirror
    )
    trained = workplace.train[job.recipe.method](job, watch)
    logger.info("training_ended", steps=trained.steps, summary=trained.summary, refused_pairs=trained.refused)
    watch.on_phase("measuring")
    moved = {f"kl_to_{point}": kl for point, kl in measure_drift(job, parent, registry, workplace.measure).items()}
    watch.on_metrics(trained.steps, moved)
    watch.on_phase("registering")
    lineage = _list_lineage(run, trained, workplace) | {"anchor_version": find_anchor(parent)}
    save_model_card(job, run.recipe, trained, lineage | {name: f"{kl:.4f}" for name, kl in moved.items()})
    save_signature(job.candidate)
    registry.log_folder(mlflow_run_id, save_environment(attempt / "environment"), "environment")
    source = registry.log_folder(mlflow_run_id, job.candidate, f"attempt-{run.fencing_token}/model")
    with claim.ending() as (session, held):
        version = _register(held, lineage | {"served_model": source}, mlflow_run_id, workplace)
        held.candidate_version = version.version
        held.weights_sha256 = version.tags.get("weights_sha256", trained.weights_sha256)
        held.progress = watch.progress | {"phase": "done", "seconds_left": 0.0}
        finish_run(session, held, "succeeded", trained.summary, topic_prefix=workplace.topic_prefix)
    logger.info("run_succeeded", candidate_version=version.version, weights_sha256=held.weights_sha256)


def _prepare_dataset(run: Run, recipe: Recipe, attempt: Path, mlflow_run_id: str, workplace: Workplace) -> Path:
    dataset = locate(run.dataset_uri)
    if not recipe.replay.is_asked_for:
        return dataset
    with workplace.sessions() as session:
        earlier = load_snapshots(session, run.dataset_sha256)
    mixed = mix_inside_loop(recipe, dataset, earlier, attempt)
    params = {f"replay.of_{name}": json.dumps(content) for name, content in mixed.summary.items()}
    workplace.registry.log_params(mlflow_run_id, params)
    workplace.mirror.describe(params)
    return mixed.dataset


def _register(run: Run, tags: dict[str, str], mlflow_run_id: str, workplace: Workplace) -> ModelVersion:
    """The candidate's version: the one that an earlier attempt registered before it died, else a new one."""
    found = workplace.registry.find_version("training_run_id", str(run.run_id))
    if found is not None:
        return found
    return workplace.registry.register(tags["served_model"], mlflow_run_id, tags)


def _list_lineage(run: Run, trained: Trained, workplace: Workplace) -> dict[str, str]:
    return {
        "weights_sha256": trained.weights_sha256,
        "dataset_sha256": run.dataset_sha256,
        "recipe_sha256": run.recipe_sha256,
        "parent_version": run.parent_version,
        "training_run_id": str(run.run_id),
        "request_id": str(run.request_id),
        "code_version": workplace.code_version,
    }


def _list_references(run: Run, workplace: Workplace) -> dict[str, str]:
    """What the mirror names beside the parameters."""
    return {
        "dataset_uri": run.dataset_uri,
        "training_run_id": str(run.run_id),
        "request_id": str(run.request_id),
        "code_version": workplace.code_version,
    }


def _fail(claim: Claim, workplace: Workplace, reason: str) -> None:
    try:
        with claim.ending() as (session, held):
            finish_run(session, held, "failed", reason, topic_prefix=workplace.topic_prefix)
    except StaleClaim as error:
        logger.warning("run_given_up", reason=error.detail)


def _tidy_up_if_finished(run_id: UUID, workplace: Workplace) -> None:
    """Once a run is over, by whoever's hand: its checkpoints go, and its tracking ends. Neither may fail it."""
    with workplace.sessions() as session:
        run = repository.load_run(session, run_id)
    if run.state in repository.OPEN_STATES:
        return
    delete_folder(workplace.runs_folder / str(run_id))
    try:
        if run.mlflow_run_id:
            workplace.registry.end_run(run.mlflow_run_id, succeeded=run.state == "succeeded")
    except Exception as error:
        logger.warning("tracking_run_not_ended", error=repr(error))
    facts = {name: getattr(run, name) for name in ("reason", "candidate_version", "weights_sha256")}
    workplace.mirror.end(run.state, facts)


def _classify(error: Exception) -> Cause:
    if isinstance(error, TrainingFailed):
        return error.cause
    return "setup" if isinstance(error, HeliotropeError) else "error"


def _describe(error: Exception) -> str:
    return error.detail if isinstance(error, HeliotropeError) else f"{type(error).__name__}: {error}"


def _list_params(run: Run) -> dict[str, Any]:
    """What MLflow shows of the run's making; nested settings by dotted name."""
    params: dict[str, Any] = {
        "dataset_sha256": run.dataset_sha256,
        "recipe_sha256": run.recipe_sha256,
        "parent_version": run.parent_version,
    }
    for name, value in run.recipe.items():
        if name == "stages":
            params |= {
                f"stages.{place}": f"{stage['name']}: {stage['method']}, {stage['max_steps']} steps"
                for place, stage in enumerate(value)
            }
        elif isinstance(value, dict):
            params |= {f"{name}.{inner}": content for inner, content in value.items()}
        else:
            params[name] = value
    return params


def locate(uri: str) -> Path:
    """The local folder that a dataset URI names: a plain path or `file:`."""
    return Path(unquote(urlparse(uri).path)) if uri.startswith("file:") else Path(uri)
