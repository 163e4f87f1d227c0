"""The training methods by name. Each imports torch only when it is called, once the run is claimed."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import msgspec
import structlog

from services.trainer.domain.planning.planner import apply_plan, choose_precision, describe_plan, plan_run
from services.trainer.domain.planning.sizing import assess_length, size_recipe
from services.trainer.domain.recipe.sections import Method, Point
from services.trainer.domain.training import Job, TrainingFailed, TrainingResult
from services.trainer.handlers.ladder import train_ladder
from services.trainer.handlers.memory_fallback import train_with_fitting_batch
from services.trainer.ports import RunReporter, TrainingMethod
from shared.artifacts.models import compose_model, find_base

logger = structlog.get_logger(__name__)

# Models are folders on disk: nothing here may look for them elsewhere. MLflow's own retries take minutes by default.
# W&B would tell its makers of its errors.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "WANDB_ERROR_REPORTING": "false",
}


MODULES: Mapping[Method, str] = {
    "sft": "services.trainer.adapters.methods.sft",
    "dpo": "services.trainer.adapters.methods.dpo",
    "kto": "services.trainer.adapters.methods.kto",
    "reward": "services.trainer.adapters.methods.reward",
    "rloo": "services.trainer.adapters.methods.online.rloo",
    "grpo": "services.trainer.adapters.methods.online.grpo",
    "ppo": "services.trainer.adapters.methods.online.ppo",
}
"""The module of each method; its function is `train_<method>`."""


def train_here(threads: int, job: Job, reporter: RunReporter) -> TrainingResult:
    """Train by the recipe's method in this process. `threads`: for tensor arithmetic; 0 leaves it to torch."""
    from services.trainer.adapters.methods.models import set_threads

    set_threads(threads)
    method = job.recipe.method
    train: TrainingMethod = getattr(import_module(MODULES[method]), f"train_{method}")
    return train(job, reporter)


def _train_by_plan(threads: int, job: Job, reporter: RunReporter) -> TrainingResult:
    """Train as the recipe's parallelism says: in this process, or in several through the launcher.

    What the recipe leaves to the data and the machine is put in first.
    """
    from services.trainer.adapters.methods.resource_errors import free_memory

    free_memory()  # of a stage before this one, which would be taken for used when this one is sized
    if job.recipe.precision == "auto":
        job = settle_precision(job, reporter)
    if not job.recipe.is_sized:
        job = choose_sizes(job, reporter)
    if job.recipe.parallelism.strategy == "auto":
        job = choose_strategy(job)
    if job.recipe.parallelism.nodes != job.place.count:
        wanted = job.recipe.parallelism.nodes
        raise TrainingFailed(f"the recipe asks for {wanted} machines, and this is one of {job.place.count}")
    if not job.recipe.parallelism.is_distributed:
        return train_with_fitting_batch(partial(_train_guarded, threads), job, reporter)
    return _train_spread(threads, job, reporter)


def _train_spread(threads: int, job: Job, reporter: RunReporter) -> TrainingResult:
    from services.trainer.adapters.distributed.launcher import launch
    from services.trainer.adapters.distributed.shared_weights import share_weights
    from services.trainer.adapters.methods.models import choose_base_dtype
    from services.trainer.adapters.methods.resource_errors import translate_resource_errors

    job.checkpoints.mkdir(parents=True, exist_ok=True)
    dtype = choose_base_dtype(job.recipe, job.parent)
    with (
        translate_resource_errors(job.checkpoints),
        share_weights(find_base(job.parent), dtype, job.checkpoints) as weights,
    ):
        return train_with_fitting_batch(partial(launch, threads), replace(job, weights=weights), reporter)


def _train_guarded(threads: int, job: Job, reporter: RunReporter) -> TrainingResult:
    from services.trainer.adapters.methods.resource_errors import free_memory, translate_resource_errors

    free_memory()  # of a try with more rows
    job.checkpoints.mkdir(parents=True, exist_ok=True)
    with translate_resource_errors(job.checkpoints):
        return train_here(threads, job, reporter)


def _train_ladder(threads: int, job: Job, reporter: RunReporter) -> TrainingResult:
    return train_ladder(job, reporter, {name: partial(METHODS[name], threads) for name in MODULES})


def settle_precision(job: Job, reporter: RunReporter) -> Job:
    """Replace the precision `auto` by what suits this machine, and note it."""
    from services.trainer.adapters.distributed.hardware import find_devices

    devices = find_devices(1)
    precision = choose_precision(job.recipe, devices)
    units = "with" if devices.computes_in_bf16 else "without"
    reporter.on_note(f"precision: {precision}, on a {devices.kind} {units} units for bf16")
    return replace(job, recipe=msgspec.structs.replace(job.recipe, precision=precision))


def choose_sizes(job: Job, reporter: RunReporter) -> Job:
    """Put steps and length into the recipe, by the dataset, the model and this machine, and note what was chosen.

    Raises: TrainingFailed: the memory would have too many rows cut.
    """
    from services.trainer.adapters.methods.row_lengths import measure_sizes

    reporter.on_phase("sizing")
    sizes = measure_sizes(job)
    recipe, reason = size_recipe(job.recipe, sizes)
    if reason:
        reporter.on_note(reason)
    if problem := assess_length(job.recipe, recipe, sizes):
        raise TrainingFailed(problem, "memory")
    return replace(job, recipe=recipe)


def choose_strategy(job: Job) -> Job:
    """Replace the strategy `auto` by what the planner chose for this machine."""
    from services.trainer.adapters.artifacts.model_size import read_model_size
    from services.trainer.adapters.distributed.hardware import find_devices

    devices = find_devices()
    chosen = plan_run(job.recipe, read_model_size(job.parent), devices)[-1]
    logger.info("run_planned", plan=describe_plan(chosen, devices), fits=chosen.fits)
    return replace(job, recipe=apply_plan(job.recipe, chosen))


METHODS: Mapping[Method, Callable[[int, Job, RunReporter], TrainingResult]] = {
    **dict.fromkeys(MODULES, _train_by_plan),
    "ladder": _train_ladder,
}
"""Each method by name; the first argument is the number of threads."""


def measure_kl_here(threads: int, job: Job, points: Mapping[Point, Path]) -> dict[Point, float]:
    """Measure the job's candidate against the checkpoints at these points, in this process; nats a token."""
    from services.trainer.adapters.methods.kl_divergence import measure_kl
    from services.trainer.adapters.methods.models import set_threads

    set_threads(threads)
    candidate = compose_model(job.candidate, find_base(job.parent), job.checkpoints / "views")
    lengths = [stage.length for stage in job.recipe.stages or (job.recipe,)]
    return measure_kl(
        candidate,
        points,
        job.dataset / "validation.parquet",
        examples=job.recipe.drift.examples,
        max_length=max(lengths),
    )
