"""The method `ladder`: stages one after another, each from the chat model before it."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from services.trainer.adapters.artifacts.checkpoints import (
    delete_folder,
    find_finished_stage,
    find_newest,
    load_result,
    save_result,
    sync_folder,
)
from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.recipe.sections import SAMPLING_METHODS
from services.trainer.domain.training import Job, TrainingFailed, TrainingResult
from services.trainer.ports import RunReporter, TrainingMethod
from shared.artifacts.models import compose_model, find_base


def train_ladder(job: Job, reporter: RunReporter, methods: Mapping[str, TrainingMethod]) -> TrainingResult:
    """Train stage after stage. A stage that an earlier attempt finished is not repeated; one that it began is resumed.

    Raises: as the stages' methods, a failure with its stage's name in front.
    """
    policy, reward_model, results, steps = job.parent, None, list[tuple[str, TrainingResult]](), 0
    last = len(job.recipe.stages) - 1
    for index, stage in enumerate(job.recipe.stages):
        if stage.reward_model is None and stage.reward_function is None and stage.method in SAMPLING_METHODS:
            stage = msgspec.structs.replace(stage, reward_model=str(reward_model))
        name = f"stage-{index}"
        outcome = find_finished_stage(job.checkpoints.parent, name) if index < last else None
        if outcome is None:
            stage_reporter = StageReporter(reporter, stage.name, steps, job.recipe.max_steps)
            outcome = _train_stage(job, stage, name, policy, stage_reporter, methods, is_last=index == last)
        trained = load_result(outcome)
        results.append((stage.name, trained))
        steps += stage.max_steps or trained.steps
        if stage.trains_chat_model:
            policy = compose_model(outcome / "candidate", find_base(job.parent), job.checkpoints / "views")
        else:
            reward_model = outcome / "candidate"
    return _sum_up(results)


def _train_stage(
    job: Job,
    stage: Recipe,
    name: str,
    policy: Path,
    reporter: RunReporter,
    methods: Mapping[str, TrainingMethod],
    *,
    is_last: bool,
) -> Path:
    folder, token = job.checkpoints / name, int(job.checkpoints.name)
    folder.mkdir(parents=True, exist_ok=True)
    stage_job = Job(
        recipe=stage,
        parent=policy,
        dataset=job.dataset,
        checkpoints=folder,
        resume_from=find_newest(job.checkpoints.parent, below_token=token, stage=name),
        candidate=job.candidate if is_last else folder / "candidate",
        parent_uri=job.parent_uri if find_base(policy) == find_base(job.parent) else None,
        parent_sha256=job.parent_sha256,
        rewards=job.rewards,
    )
    try:
        trained = methods[stage.method](stage_job, reporter)
    except TrainingFailed as failure:
        raise TrainingFailed(f"{stage.name}: {failure.detail}", failure.cause) from failure
    save_result(folder, stage_job.candidate, trained)
    if not is_last:
        for checkpoint in folder.glob("checkpoint-*"):
            delete_folder(checkpoint)
        sync_folder(folder)
        reporter.on_checkpoint(folder)
    return folder


def _sum_up(results: list[tuple[str, TrainingResult]]) -> TrainingResult:
    """Add up the stages; the outcome is the last one's."""
    _, outcome = results[-1]
    return TrainingResult(
        steps=sum(trained.steps for _, trained in results),
        weights_sha256=outcome.weights_sha256,
        summary="; ".join(f"{name}: {trained.summary}" for name, trained in results),
        pairs=outcome.pairs,
        refused=outcome.refused,
        refused_rows=outcome.refused_rows,
        lineage={name: value for _, trained in results for name, value in trained.lineage.items()},
    )


class StageReporter:
    """Counts a stage's steps as the ladder's."""

    def __init__(self, reporter: RunReporter, stage: str, offset: int, total: int | None) -> None:
        self._reporter = reporter
        self._stage = stage
        self._offset = offset
        self._total = total

    @property
    def stopping(self) -> bool:
        return self._reporter.stopping

    def on_phase(self, phase: str) -> None:
        self._reporter.on_phase(f"{self._stage}: {phase}")

    def on_step(self, step: int, total: int) -> None:
        self._reporter.on_step(self._offset + step, self._total or self._offset + total)

    def on_micro_step(self) -> None:
        self._reporter.on_micro_step()

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        self._reporter.on_metrics(self._offset + step, metrics)

    def on_note(self, note: str) -> None:
        self._reporter.on_note(f"{self._stage}: {note}")

    def on_checkpoint(self, checkpoint: Path) -> None:
        self._reporter.on_checkpoint(checkpoint)
