"""A ladder of methods; the methods themselves are tested elsewhere, so here they only leave folders behind."""

from pathlib import Path

import pytest

from services.trainer.adapters.artifacts.checkpoints import mark_complete
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import Interrupted, Job, TrainingFailed, TrainingResult
from services.trainer.handlers.ladder import train_ladder
from services.trainer.ports import RunReporter

STAGES = [
    {"name": "imitate", "method": "sft", "max_steps": 2},
    {"name": "judge", "method": "reward", "max_steps": 3},
    {"name": "climb", "method": "rloo", "max_steps": 4},
]


class Recorder:
    """Takes every step, with a checkpoint after each, up to `stop_after` steps of the ladder."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.stopping = False
        self.steps: list[tuple[int, int]] = []
        self.phases: list[str] = []
        self.jobs: list[Job] = []

    def __call__(self, job: Job, reporter: RunReporter) -> TrainingResult:
        self.jobs.append(job)
        reporter.on_phase("training")
        done = int(job.resume_from.name.removeprefix("checkpoint-")) if job.resume_from else 0
        for step in range(done + 1, job.recipe.steps + 1):
            reporter.on_step(step, job.recipe.steps)
            checkpoint = job.checkpoints / f"checkpoint-{step}"
            checkpoint.mkdir()
            reporter.on_checkpoint(checkpoint)
            if reporter.stopping:
                raise Interrupted(f"at step {step}")
        job.candidate.mkdir(parents=True)
        return TrainingResult(job.recipe.steps, job.recipe.method, "all steps taken", 8, 1)

    def on_phase(self, phase: str) -> None:
        self.phases.append(phase)

    def on_step(self, step: int, total: int) -> None:
        self.steps.append((step, total))
        self.stopping = step == self.stop_after

    def on_micro_step(self) -> None:
        """Nothing to check."""

    def on_metrics(self, step: int, metrics: object) -> None:
        """Nothing is logged."""

    def on_note(self, note: str) -> None:
        """Nothing is done to it."""

    def on_checkpoint(self, checkpoint: Path) -> None:
        mark_complete(checkpoint)


def climb(folder: Path, token: int, recorder: Recorder) -> TrainingResult:
    recipe = parse_recipe({"name": "all", "method": "ladder", "stages": STAGES})
    checkpoints = folder / str(token)
    job = Job(recipe, Path("/parent"), Path("/data"), checkpoints, None, checkpoints / "candidate")
    return train_ladder(job, recorder, dict.fromkeys(["sft", "reward", "rloo"], recorder))


def test_each_stage_starts_from_the_chat_model_before_it_and_climbs_the_reward_model(tmp_path: Path):
    recorder = Recorder()
    trained = climb(tmp_path, 1, recorder)
    imitate, judge, last = recorder.jobs
    assert imitate.parent == Path("/parent")
    assert judge.parent == last.parent == imitate.candidate
    assert last.recipe.reward_model == str(judge.candidate)
    assert last.candidate == tmp_path / "1" / "candidate"
    assert (trained.steps, trained.weights_sha256) == (9, "rloo")
    assert trained.summary == "imitate: all steps taken; judge: all steps taken; climb: all steps taken"
    assert recorder.steps == [(step, 9) for step in range(1, 10)]
    assert recorder.phases == ["imitate: training", "judge: training", "climb: training"]


@pytest.mark.parametrize("stop_after", [1, 3, 5, 8])
def test_another_worker_goes_on_in_the_stage_that_was_interrupted(tmp_path: Path, stop_after: int):
    with pytest.raises(Interrupted):
        climb(tmp_path, 1, Recorder(stop_after))
    recorder = Recorder()
    trained = climb(tmp_path, 2, recorder)
    assert recorder.steps == [(step, 9) for step in range(stop_after + 1, 10)]
    assert (trained.steps, trained.weights_sha256) == (9, "rloo")
    assert recorder.jobs[-1].recipe.reward_model is not None
    assert Path(recorder.jobs[-1].recipe.reward_model).is_dir()


def test_a_failure_names_its_stage(tmp_path: Path):
    class Broken(Recorder):
        def __call__(self, job: Job, reporter: RunReporter) -> TrainingResult:
            if job.recipe.name == "judge":
                raise TrainingFailed("reward spread is 0 below 0.01")
            return super().__call__(job, reporter)

    with pytest.raises(TrainingFailed, match="judge: reward spread is 0"):
        climb(tmp_path, 1, Broken())
