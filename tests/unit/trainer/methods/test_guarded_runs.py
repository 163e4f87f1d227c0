"""Guards at work on real trainers: runs that break are ended with their reason, or brought back."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import AutoModelForSequenceClassification, TrainerCallback, TrainerControl, TrainerState  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

from services.trainer.adapters.artifacts.dataset import load_answers  # noqa: E402
from services.trainer.adapters.methods.arguments import list_arguments  # noqa: E402
from services.trainer.adapters.methods.guard_callback import GuardCallback, count_halvings  # noqa: E402
from services.trainer.adapters.methods.models import load_policy, load_tokenizer  # noqa: E402
from services.trainer.adapters.methods.training_loop import run_training_loop  # noqa: E402
from services.trainer.domain.training import TrainingFailed  # noqa: E402
from tests.unit.trainer.methods.runs import SAMPLED, make_job, train  # noqa: E402
from tests.unit.trainer.quiet_reporter import QuietReporter  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory, parent: Path) -> Path:
    job = make_job(tmp_path_factory.mktemp("reward"), parent, method="reward", max_steps=2)
    train(job)
    return job.candidate


@pytest.fixture(scope="module")
def constant_reward_model(tmp_path_factory: pytest.TempPathFactory, parent: Path) -> Path:
    job = make_job(tmp_path_factory.mktemp("constant"), parent, method="reward", max_steps=1)
    train(job)
    model = AutoModelForSequenceClassification.from_pretrained(job.candidate)
    model.score.weight.data.zero_()
    model.save_pretrained(job.candidate)
    return job.candidate


class PoisonAt(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Makes the weights no numbers after these steps, each once."""

    def __init__(self, *steps: int) -> None:
        self._steps = list(steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._steps and state.global_step == self._steps[0]:
            self._steps.pop(0)
            for weights in kwargs["model"].parameters():
                weights.data.fill_(float("nan"))


def train_poisoned(folder: Path, parent: Path, *steps: int) -> tuple[QuietReporter, GuardCallback, Any]:
    job, reporter = (
        make_job(folder, parent, method="sft", tuning="full", learning_rate=1e-3, max_steps=8),
        QuietReporter(),
    )
    callback = GuardCallback(job.recipe, reporter)
    trainer = SFTTrainer(
        model=load_policy(parent),
        args=SFTConfig(**list_arguments(job.recipe, job.checkpoints)),
        train_dataset=load_answers(job.dataset, "sft"),
        processing_class=load_tokenizer(parent),
        callbacks=[PoisonAt(*steps), callback],
    )
    run_training_loop(job, reporter, trainer, callback)
    return reporter, callback, trainer


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "reward"])
def test_a_learning_rate_that_breaks_the_first_step_fails_the_run(tmp_path: Path, parent: Path, method: str):
    with pytest.raises(TrainingFailed, match=r"is nan|is inf"):
        train(make_job(tmp_path, parent, method=method, learning_rate=1e30, save_steps=1))


def test_a_run_whose_weights_break_goes_on_from_its_last_good_checkpoint_at_half_the_learning_rate(
    tmp_path: Path, parent: Path
):
    reporter, callback, trainer = train_poisoned(tmp_path, parent, 6)  # checkpoint-6 holds no numbers
    assert reporter.steps == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8]
    assert callback.outcome.startswith("back to a checkpoint, since")
    assert reporter.notes == ["roll back at step 7: loss is nan"]
    assert count_halvings(trainer.lr_scheduler, 1e-3) == 1
    assert reporter.metrics[-1][1]["learning_rate"] == pytest.approx(5e-4)
    assert all(torch.isfinite(weights).all() for weights in trainer.model.parameters())


def test_a_run_that_breaks_again_and_again_fails(tmp_path: Path, parent: Path):
    with pytest.raises(TrainingFailed, match=r"is nan after 2 returns to a checkpoint"):
        train_poisoned(tmp_path, parent, 6, 6, 6)


RUNAWAY: dict[str, Any] = SAMPLED | {
    "kl_coefficient": 0.0,
    "learning_rate": 1e-2,
    "tuning": "full",
    "batch_size": 8,
    "max_steps": 20,
}


@pytest.mark.parametrize("method", ["rloo", "grpo", "ppo"])
def test_a_kl_that_runs_away_at_no_price_fails_the_run(tmp_path: Path, parent: Path, reward_model: Path, method: str):
    guards = {"max_kl": 0.1, "patience": 2, "max_adjustments": 0}
    reporter = QuietReporter()
    job = make_job(tmp_path, parent, method=method, reward_model=str(reward_model), **RUNAWAY, guards=guards)
    with pytest.raises(TrainingFailed, match=r"KL [\d.]+ nats is above 0.1"):
        train(job, reporter)
    assert any("guards/stop" in metrics for _, metrics in reporter.metrics)
    assert reporter.notes[-1].startswith("stop at step ")


def test_rewards_that_are_all_alike_fail_a_sampling_run(tmp_path: Path, parent: Path, constant_reward_model: Path):
    free = SAMPLED["sampling"] | {"cut_off_penalty": 0.0}  # or answers that were cut off would be told apart
    changes: dict[str, Any] = SAMPLED | {"max_steps": 6, "guards": {"patience": 3}, "sampling": free}
    reporter = QuietReporter()
    with pytest.raises(TrainingFailed, match="rewards no longer differ"):
        train(make_job(tmp_path, parent, method="rloo", reward_model=str(constant_reward_model), **changes), reporter)
    assert reporter.steps == [1, 2, 3]


def test_a_validation_loss_that_stays_finishes_the_run(tmp_path: Path, parent: Path):
    guards = {"eval_patience": 2}
    job = make_job(tmp_path, parent, method="sft", learning_rate=1e-30, max_steps=8, eval_steps=1, guards=guards)
    reporter = QuietReporter()
    trained = train(job, reporter)
    assert trained.steps == 3
    assert "no better than" in trained.summary
    assert reporter.notes == [f"finish at step 3: {trained.summary}"]


class PricedObserver(GuardCallback):
    price = 0.05

    def scale_kl_cost(self, args: Any, factor: float) -> None:
        self.price *= factor


def test_an_adjustment_halves_the_learning_rate_and_doubles_the_price_of_kl_also_for_who_resumes(
    tmp_path: Path, parent: Path
):
    guards = {"max_kl": 2.0, "patience": 1}
    recipe = make_job(tmp_path, parent, method="grpo", reward_model="r", learning_rate=0.1, guards=guards).recipe
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    state, logs = TrainerState(global_step=1, log_history=[]), {"loss": 1.0, "kl": 3.0}
    reporter = QuietReporter()
    callback = PricedObserver(recipe, reporter)
    callback.on_train_begin(None, state, TrainerControl(), lr_scheduler=scheduler)
    state.log_history.append(dict(logs))
    callback.on_log(None, state, TrainerControl(), logs, lr_scheduler=scheduler)
    optimizer.step()
    scheduler.step()
    assert (optimizer.param_groups[0]["lr"], callback.price) == (0.05, 0.1)
    assert [note.split(":")[0] for note in reporter.notes] == ["adjust at step 1"]
    successor = PricedObserver(recipe, QuietReporter())
    successor.on_train_begin(None, state, TrainerControl(), lr_scheduler=scheduler)
    assert (scheduler.base_lrs, successor.price) == ([0.05], 0.1)
