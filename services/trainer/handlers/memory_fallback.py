"""A run that does not fit into memory goes on with fewer rows at a time."""

from dataclasses import replace

from services.trainer.adapters.artifacts.checkpoints import find_newest_of_attempt
from services.trainer.domain.planning.planner import shrink_micro_batch
from services.trainer.domain.training import Job, OutOfMemory, TrainingFailed, TrainingResult
from services.trainer.ports import RunReporter, TrainingMethod


def train_with_fitting_batch(train: TrainingMethod, job: Job, reporter: RunReporter) -> TrainingResult:
    """Train; each time memory runs out, go on from the last checkpoint with the next smaller micro-batch.

    The rows of a step stay as many. `micro_batch` is reported as a metric, and in words.

    Raises: as `services.trainer.domain.training.Train`; OutOfMemory on one of several machines.
    """
    wanted = job.recipe.batch_size
    while True:
        try:
            trained = train(job, reporter)
        except OutOfMemory as shortage:
            if job.place.count > 1:  # the other machines would go on with more rows: the next start takes fewer on all
                raise
            recipe = shrink_micro_batch(job.recipe)
            if recipe is None:
                rows = job.recipe.batch_size
                raise TrainingFailed(f"out of memory with {rows} rows at a time: {shortage.detail}", "memory") from None
            reporter.on_metrics(0, {"micro_batch": float(recipe.batch_size)})
            reporter.on_note(f"memory ran out with {job.recipe.batch_size} rows at a time: on with {recipe.batch_size}")
            newest = find_newest_of_attempt(job.checkpoints) or job.resume_from
            job = replace(job, recipe=recipe, resume_from=newest)
        else:
            size = job.recipe.batch_size
            note = f"; memory ran out, so {size} rows at a time in place of {wanted}" if size < wanted else ""
            return replace(trained, summary=trained.summary + note)
