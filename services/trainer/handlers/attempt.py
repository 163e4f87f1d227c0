"""One attempt at a run: track, prepare, train, measure, register."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from services.trainer.adapters.artifacts.checkpoints import find_newest, find_trained, save_result
from services.trainer.domain.launching.endings import LauncherUnavailable
from services.trainer.domain.launching.records import parse_record
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import (
    CandidateNotRegistered,
    Interrupted,
    Job,
    TrainingFailed,
    TrainingResult,
)
from services.trainer.handlers.claim import Claim
from services.trainer.handlers.context import Attempt, WorkerContext
from services.trainer.handlers.drift import locate_anchor, measure_drift
from services.trainer.handlers.registration import register_candidate
from services.trainer.handlers.registry_calls import RegistryUnavailable, call_registry
from services.trainer.handlers.remote_files import RemoteFiles
from services.trainer.handlers.remote_run import RemoteTraining
from services.trainer.handlers.replay import mix_for_run
from services.trainer.handlers.reporter import LoopReporter
from services.trainer.repository import load_snapshots
from shared.db import is_transient
from shared.errors import StaleClaim, describe_error
from shared.registry import ModelVersion
from shared.tables.trainer import Run

logger = structlog.get_logger(__name__)

CANDIDATE = "candidate"
"""Folder of an attempt in which the trained model lies."""


def run_attempt(run: Run, claim: Claim, context: WorkerContext) -> None:
    """Train the run's candidate, from its last checkpoint if there is one, and register it.

    A candidate that an earlier attempt has trained is only measured and registered.

    Raises:
        TrainingFailed: the run cannot succeed.
        CandidateNotRegistered: it has trained its candidate, and something after that failed.
        Interrupted: the worker was told to stop; a checkpoint is there.
        StaleClaim: another worker has the run, or it was cancelled or closed.
        RegistryUnavailable: the registry did not answer for too long.
    """
    attempt = _prepare(run, claim, context)
    job = attempt.job
    reporter = LoopReporter(
        claim,
        context.registry,
        attempt.mlflow_run_id,
        context.stop,
        notes=run.progress.get("notes", ()),
        mirror=context.mirror,
        keep=context.storage.keep,
    )
    trained = find_trained(job.checkpoints.parent, below_token=run.fencing_token)
    if trained is None:
        result = _train(attempt, reporter, context)
    else:
        earlier, result = trained
        attempt = replace(attempt, job=replace(job, candidate=earlier / CANDIDATE))
        logger.info("candidate_found", attempt=earlier.name, summary=result.summary)
    with keep_candidate():
        _measure_and_register(attempt, result, reporter, context)


@contextmanager
def keep_candidate() -> Iterator[None]:
    """Translate what fails after training, so that nobody takes it for a failure of the training.

    Raises:
        CandidateNotRegistered: in place of any other error; what says who goes on with the run, a guard's verdict and
            a database that is away pass.
    """
    try:
        yield
    except (TrainingFailed, Interrupted, StaleClaim, RegistryUnavailable):
        raise
    except Exception as error:
        if is_transient(error):
            raise
        raise CandidateNotRegistered(describe_error(error)) from error


def _measure_and_register(
    attempt: Attempt, result: TrainingResult, reporter: LoopReporter, context: WorkerContext
) -> None:
    reporter.on_phase("measuring")
    fetch = context.storage.fetch_model
    anchor = call_registry(partial(locate_anchor, attempt.parent, context.registry, fetch), attempt.claim, context)
    movement = measure_drift(attempt.job, anchor, context.measure_kl)
    reporter.on_metrics(result.steps, {f"kl_to_{point}": nats for point, nats in movement.nats.items()})
    if movement.unmeasured:
        reporter.on_note(movement.unmeasured)
    reporter.on_phase("registering")
    call_registry(partial(register_candidate, attempt, result, movement, reporter, context), attempt.claim, context)


def _train(attempt: Attempt, reporter: LoopReporter, context: WorkerContext) -> TrainingResult:
    job = attempt.job
    logger.info("training_started", resume_from=job.resume_from and job.resume_from.name, recipe=job.recipe.name)
    launcher = choose_launcher(attempt.run, job.recipe, context)
    if launcher is None:
        result = context.methods[job.recipe.method](job, reporter)
    else:
        result = _train_elsewhere(launcher, attempt, reporter, context)
    save_result(job.checkpoints, job.candidate, result)
    logger.info("training_ended", steps=result.steps, summary=result.summary, refused_pairs=result.refused)
    return result


def choose_launcher(run: Run, recipe: Recipe, context: WorkerContext) -> str | None:
    """Choose where to train: where the run's job is already, whatever recipe and settings say by now.

    Raises:
        LauncherUnavailable: its job is at a launcher that this worker lacks; another one may know it.
    """
    record = parse_record(run.remote)
    if record is None:
        return recipe.launcher or context.launcher
    if record.launcher not in context.offers:
        known = sorted(context.offers)
        raise LauncherUnavailable(f"its job is at {record.launcher!r}, and this worker's launchers are {known}")
    return record.launcher


def _train_elsewhere(name: str, attempt: Attempt, reporter: LoopReporter, context: WorkerContext) -> TrainingResult:
    if name not in context.offers:
        raise TrainingFailed(f"no launcher {name!r}: HELIOTROPE_TRAINER_LAUNCHERS_FILE has {sorted(context.offers)}")
    training = RemoteTraining(
        attempt.run,
        attempt.claim,
        reporter,
        context.offers[name],
        _open_remote(attempt.run, context),
        poll_seconds=context.launcher_poll_seconds,
        patience_seconds=context.registry_patience.total_seconds(),
    )
    attempt.job.checkpoints.mkdir(parents=True, exist_ok=True)
    return training.train(attempt.job)


def _open_remote(run: Run, context: WorkerContext) -> RemoteFiles:
    """Open where the run's machines find its things; where models are signed, they seal what they store."""
    key = context.signer.derive_key(f"heliotrope run {run.run_id}") if context.signer else None
    return RemoteFiles(context.storage.artifacts, context.storage.locate_remote(run.run_id), key)


def _prepare(run: Run, claim: Claim, context: WorkerContext) -> Attempt:
    mlflow_run_id = _start_tracking(run, claim, context)
    parent = call_registry(partial(context.registry.load_version, run.parent_version), claim, context)
    return Attempt(run, claim, _prepare_job(run, claim, parent, mlflow_run_id, context), parent, mlflow_run_id)


def _start_tracking(run: Run, claim: Claim, context: WorkerContext) -> str:
    """Start or find the run in MLflow and the mirror; returns MLflow's run id."""
    name, registry = f"train {run.request_id}", context.registry
    start = partial(registry.start_run, name, {"training_run_id": str(run.run_id)})
    mlflow_run_id = call_registry(start, claim, context)
    with claim.locked() as (_, held):
        held.mlflow_run_id = mlflow_run_id
    params = _list_params(run)
    context.mirror.begin(str(run.run_id), name, params | _list_references(run, context))
    call_registry(partial(registry.log_params, mlflow_run_id, params), claim, context)
    call_registry(partial(registry.log_dataset, mlflow_run_id, run.dataset_sha256, run.dataset_uri), claim, context)
    return mlflow_run_id


def _prepare_job(run: Run, claim: Claim, parent: ModelVersion, mlflow_run_id: str, context: WorkerContext) -> Job:
    recipe, folder = parse_recipe(run.recipe, stored=True), context.runs_folder / str(run.run_id)
    dataset = call_registry(partial(context.fetch_dataset, run.dataset_uri), claim, context)
    call_registry(partial(context.storage.restore, run.run_id), claim, context)
    attempt = folder / str(run.fencing_token)
    return Job(
        recipe=recipe,
        parent=call_registry(partial(context.storage.fetch_model, parent), claim, context),
        dataset=_prepare_dataset(run, recipe, attempt, mlflow_run_id, dataset, context),
        checkpoints=attempt,
        resume_from=find_newest(folder, below_token=run.fencing_token),
        candidate=attempt / CANDIDATE,
        parent_uri=parent.artifact_uri,
        parent_sha256=parent.tags.get("content_sha256"),
        rewards=context.rewards,
    )


def _prepare_dataset(
    run: Run, recipe: Recipe, attempt: Path, mlflow_run_id: str, dataset: Path, context: WorkerContext
) -> Path:
    """Take the frozen dataset, or mix it as the recipe's replay says; returns the folder to train on."""
    if not recipe.replay.is_asked_for:
        return dataset
    with context.sessions() as session:
        earlier = load_snapshots(session, run.dataset_sha256)
    mixed = mix_for_run(recipe, dataset, earlier, attempt)
    params = {f"replay.of_{name}": json.dumps(content) for name, content in mixed.summary.items()}
    context.registry.log_params(mlflow_run_id, params)
    context.mirror.describe(params)
    return mixed.dataset


def _list_references(run: Run, context: WorkerContext) -> dict[str, str]:
    """List what the mirror names beside the parameters."""
    return {
        "dataset_uri": run.dataset_uri,
        "training_run_id": str(run.run_id),
        "request_id": str(run.request_id),
        "code_version": context.code_version,
    }


def _list_params(run: Run) -> dict[str, Any]:
    """List what MLflow shows of the run's making; nested settings by dotted name."""
    params: dict[str, Any] = {
        "dataset_sha256": run.dataset_sha256,
        "recipe_sha256": run.recipe_sha256,
        "parent_version": run.parent_version,
    }
    for name, value in run.recipe.items():
        if name == "stages":
            params |= {f"stages.{place}": _describe_stage(stage) for place, stage in enumerate(value)}
        elif isinstance(value, dict):
            params |= {f"{name}.{inner}": content for inner, content in value.items()}
        else:
            params[name] = value
    return params


def _describe_stage(stage: dict[str, Any]) -> str:
    steps = "steps by passes" if stage["max_steps"] is None else f"{stage['max_steps']} steps"
    return f"{stage['name']}: {stage['method']}, {steps}"
