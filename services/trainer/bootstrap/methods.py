"""The training methods by name. Each imports torch only when it is called, once the run is claimed."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from services.trainer.domain.drift import Point
from services.trainer.domain.planner import apply_plan, describe_plan, plan_run
from services.trainer.domain.recipe import Method
from services.trainer.domain.training import Job, Trained, Watch
from services.trainer.handlers.drift import Measured
from services.trainer.handlers.fitting import train_fitting
from services.trainer.handlers.ladder import train_ladder

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


def train_with_sft(threads: int, job: Job, watch: Watch) -> Trained:
    from services.trainer.adapters.policy import set_threads
    from services.trainer.adapters.sft import train_sft

    set_threads(threads)
    return train_sft(job, watch)


def train_with_dpo(threads: int, job: Job, watch: Watch) -> Trained:
    from services.trainer.adapters.dpo import train_dpo
    from services.trainer.adapters.policy import set_threads

    set_threads(threads)
    return train_dpo(job, watch)


def train_with_kto(threads: int, job: Job, watch: Watch) -> Trained:
    from services.trainer.adapters.kto import train_kto
    from services.trainer.adapters.policy import set_threads

    set_threads(threads)
    return train_kto(job, watch)


def train_with_reward(threads: int, job: Job, watch: Watch) -> Trained:
    from services.trainer.adapters.policy import set_threads
    from services.trainer.adapters.reward import train_reward

    set_threads(threads)
    return train_reward(job, watch)


def train_with_rloo(threads: int, job: Job, watch: Watch) -> Trained:
    from services.trainer.adapters.policy import set_threads
    from services.trainer.adapters.rloo import train_rloo

    set_threads(threads)
    return train_rloo(job, watch)


def train_with_ppo(threads: int, job: Job, watch: Watch) -> Trained:
    from services.trainer.adapters.policy import set_threads
    from services.trainer.adapters.ppo import train_ppo

    set_threads(threads)
    return train_ppo(job, watch)


def train_with_ladder(threads: int, job: Job, watch: Watch) -> Trained:
    return train_ladder(job, watch, {name: partial(train, threads) for name, train in METHODS.items()})


TRAIN_HERE: Mapping[Method, Callable[[int, Job, Watch], Trained]] = {
    "sft": train_with_sft,
    "dpo": train_with_dpo,
    "kto": train_with_kto,
    "reward": train_with_reward,
    "rloo": train_with_rloo,
    "ppo": train_with_ppo,
    "ladder": train_with_ladder,
}
"""Each method in this process."""


def _train(method: Method, threads: int, job: Job, watch: Watch) -> Trained:
    if method == "ladder":  # its stages come back here
        return train_with_ladder(threads, job, watch)
    if job.recipe.parallelism.strategy == "auto":
        job = choose_strategy(job)
    if not job.recipe.parallelism.is_spread:
        return train_fitting(partial(_train_here, method, threads), job, watch)
    from services.trainer.adapters.launching import launch

    return train_fitting(partial(launch, threads), job, watch)


def _train_here(method: Method, threads: int, job: Job, watch: Watch) -> Trained:
    from services.trainer.adapters.shortages import explain_shortages

    job.checkpoints.mkdir(parents=True, exist_ok=True)
    with explain_shortages(job.checkpoints):
        return TRAIN_HERE[method](threads, job, watch)


def choose_strategy(job: Job) -> Job:
    """The job with what the planner chose for this machine in place of `auto`."""
    from services.trainer.adapters.machine import find_devices, read_model_size

    devices = find_devices()
    chosen = plan_run(job.recipe, read_model_size(job.parent), devices)[-1]
    logger.info("run_planned", plan=describe_plan(chosen, devices), fits=chosen.fits)
    return replace(job, recipe=apply_plan(job.recipe, chosen))


METHODS: Mapping[Method, Callable[[int, Job, Watch], Trained]] = {name: partial(_train, name) for name in TRAIN_HERE}
"""Each method as its recipe's parallelism has it."""


def measure_here(threads: int, job: Job, points: dict[Point, Path]) -> Measured:
    from services.trainer.adapters.divergence import measure_kl
    from services.trainer.adapters.policy import set_threads

    set_threads(threads)
    lengths = [stage.max_length for stage in job.recipe.stages or (job.recipe,)]
    return measure_kl(
        job.candidate,
        points,
        job.dataset / "validation.parquet",
        examples=job.recipe.drift.examples,
        max_length=max(lengths),
    )
