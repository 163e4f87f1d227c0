"""DPO with each pair's ε, on a tiny model."""

import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from services.trainer.adapters.artifacts.dataset import load_pairs  # noqa: E402
from services.trainer.adapters.methods.dpo import build_arguments, train_dpo  # noqa: E402
from services.trainer.adapters.methods.dpo_trainer import EpsilonDPOTrainer  # noqa: E402
from services.trainer.adapters.methods.epsilon import EpsilonDPOCollator  # noqa: E402
from services.trainer.adapters.methods.models import build_lora_config  # noqa: E402
from services.trainer.domain.recipe.schema import Recipe  # noqa: E402
from services.trainer.domain.training import Interrupted, Job, TrainingFailed, TrainingResult  # noqa: E402
from tests import builders  # noqa: E402
from tests.unit.trainer.quiet_reporter import QuietReporter  # noqa: E402
from tests.unit.trainer.tiny_model import make_pairs, save_dataset  # noqa: E402

# peft and trl still ask transformers by the old name
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
]


def make_recipe(**changes: Any) -> Recipe:
    settings: dict[str, Any] = {"learning_rate": 1e-2, "save_steps": 2, "batch_size": 4, "max_length": 96}
    settings["lora"] = {"r": 4, "alpha": 8}
    return builders.make_recipe(**settings | changes)


def make_job(folder: Path, parent: Path, *, token: int = 1, resume_from: Path | None = None, **changes: Any) -> Job:
    return Job(
        recipe=make_recipe(**changes),
        parent=parent,
        dataset=save_dataset(folder / "dataset", make_pairs(24)),
        checkpoints=folder / str(token),
        resume_from=resume_from,
        candidate=folder / str(token) / "candidate",
    )


def make_trainer(folder: Path, parent: Path, pairs: list[dict[str, Any]], **changes: Any) -> EpsilonDPOTrainer:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    recipe = make_recipe(**changes)
    tokenizer = AutoTokenizer.from_pretrained(parent)
    model = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32)
    trainer = EpsilonDPOTrainer(
        model=model,
        args=build_arguments(recipe, folder),
        losses=recipe.weighted_losses,
        shares_prefixes=recipe.prefix_sharing,
        data_collator=EpsilonDPOCollator(pad_token_id=0, max_length=recipe.max_length),
        train_dataset=load_pairs(save_dataset(folder / "data", pairs) / "train.parquet"),
        processing_class=tokenizer,
        peft_config=build_lora_config(recipe.lora, model),
    )
    # A fresh adapter's B is zero, and with it half of the gradient
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0.0, 0.5)
    return trainer


def calculate_gradient(trainer: EpsilonDPOTrainer, rows: slice) -> Any:
    """Of the loss on these rows as one micro-batch, all adapter parameters in one vector."""
    trainer.model.train()
    trainer.model.zero_grad()
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(24)[rows]])
    trainer.compute_loss(trainer.model, batch).backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def test_a_pair_as_likely_wrong_as_right_gives_no_gradient(tmp_path: Path, parent: Path):
    pairs = make_pairs(8, epsilon=0.5) + make_pairs(16, epsilon=0.1)
    trainer = make_trainer(tmp_path, parent, pairs, batch_size=8)
    assert calculate_gradient(trainer, slice(0, 8)).abs().max() == 0.0
    assert calculate_gradient(trainer, slice(8, 16)).abs().max() > 1e-4


def test_a_less_certain_pair_counts_for_less(tmp_path: Path, parent: Path):
    pairs = [make_pairs(1, epsilon=0.0)[0], make_pairs(1, epsilon=0.3)[0]]
    trainer = make_trainer(tmp_path, parent, pairs, batch_size=1)
    certain, doubtful = (calculate_gradient(trainer, slice(row, row + 1)).norm() for row in (0, 1))
    assert 0.3 * certain < doubtful < 0.5 * certain


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo", "sft"])
def test_four_micro_batches_of_one_add_up_to_one_batch_of_four(tmp_path: Path, parent: Path, loss_type: str):
    pairs = [make_pairs(24)[row] | {"epsilon": epsilon} for row, epsilon in enumerate([0.0, 0.1, 0.25, 0.45])]
    whole = make_trainer(tmp_path / "4", parent, pairs, batch_size=4, loss_type=loss_type)
    parts = make_trainer(tmp_path / "1", parent, pairs, batch_size=1, loss_type=loss_type)
    accumulated = sum(calculate_gradient(parts, slice(row, row + 1)) for row in range(4)) / 4
    torch.testing.assert_close(accumulated, calculate_gradient(whole, slice(0, 4)), rtol=1e-4, atol=1e-6)


def test_the_last_step_of_a_pass_counts_its_fewer_pairs_for_no_more(tmp_path: Path, parent: Path):
    pairs = make_pairs(1) * 3
    changes = {"batch_size": 1, "gradient_accumulation_steps": 2, "max_steps": 2, "learning_rate": 1e-12}
    trainer = make_trainer(tmp_path, parent, pairs, **changes, logging_steps=1, max_grad_norm=1e6)
    trainer.train()
    first, last = (entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry)
    assert last == pytest.approx(first / 2, rel=1e-3)


@pytest.mark.parametrize("prefix_sharing", [True, False])
def test_without_doubt_the_loss_is_trls_own(tmp_path: Path, parent: Path, prefix_sharing: bool):
    from trl import DPOTrainer

    trainer = make_trainer(tmp_path, parent, make_pairs(24, epsilon=0.0), prefix_sharing=prefix_sharing)
    trainer.model.train()
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(4)])
    ours = trainer.compute_loss(trainer.model, batch)
    plain = {name: value for name, value in batch.items() if name not in {"epsilon", "weight"}}
    torch.testing.assert_close(ours, DPOTrainer._compute_loss(trainer, trainer.model, plain, False))


def test_pairs_that_truncation_makes_identical_are_refused(tmp_path: Path, parent: Path):
    pair = make_pairs(1)[0]
    long = "and then one more thing about the very same order " * 8
    same_start = pair | {
        side: [{"role": "assistant", "content": long + end}] for side, end in (("chosen", "a"), ("rejected", "b"))
    }
    trainer = make_trainer(tmp_path, parent, [*make_pairs(3), same_start])
    assert len(trainer.train_dataset) == 3
    assert trainer.refusals == {"train": {"same_answers": 1}}


def test_the_adapter_may_keep_to_the_last_layers(tmp_path: Path, parent: Path):
    trainer = make_trainer(tmp_path, parent, make_pairs(4), lora={"r": 2, "alpha": 4, "last_layers": 1})
    trained = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("layers.1." in name for name in trained)


def test_a_run_makes_a_loadable_candidate_that_prefers_the_chosen_answers(tmp_path: Path, parent: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reporter = QuietReporter()
    job = make_job(tmp_path, parent, eval_steps=3)
    trained = train_dpo(job, reporter)
    assert (trained.steps, trained.pairs, trained.refused) == (6, 24, 0)
    assert reporter.steps == [1, 2, 3, 4, 5, 6]
    assert reporter.metrics[-1][1]["eval_rewards/accuracies"] == 1.0
    steps = [metrics for _, metrics in reporter.metrics if "loss" in metrics]
    assert 0 < steps[0]["num_tokens"] < steps[-1]["num_tokens"]
    assert steps[-1]["peak_memory_bytes"] > 1e6
    model = AutoModelForCausalLM.from_pretrained(job.candidate)
    before = AutoModelForCausalLM.from_pretrained(parent)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before.state_dict()[name])]
    assert changed
    assert model.config.to_dict() == before.config.to_dict() | {"_name_or_path": str(job.candidate)}
    assert AutoTokenizer.from_pretrained(job.candidate).chat_template
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in job.candidate.iterdir())


def test_a_resumed_run_ends_at_the_weights_of_an_undisturbed_one(tmp_path: Path, parent: Path):
    undisturbed = train_dpo(make_job(tmp_path / "a", parent), QuietReporter())
    reporter = QuietReporter(stop_at=3)
    with pytest.raises(Interrupted):
        train_dpo(make_job(tmp_path / "b", parent), reporter)
    assert reporter.checkpoints[-1].name == "checkpoint-3"
    resumed = QuietReporter()
    trained = train_dpo(make_job(tmp_path / "b", parent, token=2, resume_from=reporter.checkpoints[-1]), resumed)
    assert resumed.steps == [4, 5, 6]
    assert trained.weights_sha256 == undisturbed.weights_sha256


def test_a_guard_ends_the_run_and_says_why(tmp_path: Path, parent: Path):
    with pytest.raises(TrainingFailed, match="gradient norm"):
        train_dpo(make_job(tmp_path, parent, guards={"max_gradient_norm": 1e-6}), QuietReporter())


def test_saturated_margins_end_the_run_early_with_a_candidate(tmp_path: Path, parent: Path):
    trained = train_dpo(
        make_job(tmp_path, parent, max_steps=30, guards={"max_margin": 0.01, "patience": 2}), QuietReporter()
    )
    assert isinstance(trained, TrainingResult)
    assert trained.steps < 30
    assert "every pair ranked right" in trained.summary


def test_a_dataset_without_epsilon_is_refused(tmp_path: Path, parent: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    job = make_job(tmp_path, parent)
    pq.write_table(pa.Table.from_pylist(make_pairs(4)).drop(["epsilon"]), job.dataset / "train.parquet")
    with pytest.raises(TrainingFailed, match="no column epsilon"):
        train_dpo(job, QuietReporter())


def test_a_dataset_in_which_nothing_is_certain_is_refused(tmp_path: Path, parent: Path):
    job = make_job(tmp_path, parent)
    save_dataset(job.dataset, make_pairs(4, epsilon=0.5))
    with pytest.raises(TrainingFailed, match="says anything"):
        train_dpo(job, QuietReporter())


@pytest.mark.parametrize("has_reference", [True, False])
def test_a_batch_is_trls_own(has_reference: bool):
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    source = random.Random(0)
    pairs = []
    for _ in range(5):
        pair = {
            name: [source.randrange(9) for _ in range(source.randint(1, 12))]
            for name in ("prompt_ids", "chosen_ids", "rejected_ids")
        }
        pairs.append(pair | {"epsilon": 0.1, "weight": 1.0})
        if has_reference:
            pairs[-1] |= {"ref_chosen_logps": source.random(), "ref_rejected_logps": source.random()}
    wanted = DataCollatorForPreference(pad_token_id=7, max_length=15)(pairs)
    found = EpsilonDPOCollator(pad_token_id=7, max_length=15)(pairs)
    assert {name: values.tolist() for name, values in found.items() if name in wanted} == {
        name: values.tolist() for name, values in wanted.items()
    }
    assert set(found) == {*wanted, "epsilon", "weight"}
