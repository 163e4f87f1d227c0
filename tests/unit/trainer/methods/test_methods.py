"""Every method on a tiny model, from a dataset that the curator's own writer froze."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from services.trainer.adapters.artifacts.dataset import load_pairs, make_dataset  # noqa: E402
from services.trainer.adapters.methods.epsilon import EpsilonRewardCollator  # noqa: E402
from services.trainer.adapters.methods.models import load_policy, load_tokenizer  # noqa: E402
from services.trainer.adapters.methods.online.reward_model import build_scorer, keep_short_prompts, load_reward_model  # noqa: E402
from services.trainer.adapters.methods.reward import (  # noqa: E402
    EpsilonRewardTrainer,
    cut_behind_end,
    is_reward_model,
)
from services.trainer.adapters.methods.validation_preference import ValidationPreference  # noqa: E402
from services.trainer.domain.recipe.parsing import parse_recipe  # noqa: E402
from services.trainer.domain.training import Interrupted, Job, TrainingFailed  # noqa: E402
from services.trainer.handlers.ladder import train_ladder  # noqa: E402
from tests.unit.trainer.methods.runs import SAMPLED, TRAIN, freeze, make_job, train  # noqa: E402
from tests.unit.trainer.quiet_reporter import QuietReporter  # noqa: E402
from tests.unit.trainer.tiny_model import make_pairs, save_dataset  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory, parent: Path) -> Path:
    job = make_job(tmp_path_factory.mktemp("reward"), parent, method="reward", max_steps=8)
    train(job)
    return job.candidate


def list_changed(candidate: Path, parent: Path) -> list[str]:
    from transformers import AutoModelForCausalLM

    after = AutoModelForCausalLM.from_pretrained(candidate).state_dict()
    before = AutoModelForCausalLM.from_pretrained(parent).state_dict()
    return [name for name, value in after.items() if not torch.equal(value, before[name])]


@pytest.mark.parametrize("method", ["sft", "kto"])
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_chat_model_comes_out_and_learned_what_it_was_shown(tmp_path: Path, parent: Path, method: str, tuning: str):
    reporter = QuietReporter()
    job = make_job(tmp_path, parent, method=method, tuning=tuning, max_steps=8, eval_steps=4)
    trained = train(job, reporter)
    assert (trained.steps, trained.refused) == (8, 0)
    assert reporter.steps == list(range(1, 9))
    assert list_changed(job.candidate, parent)
    first, last = (metrics["eval_loss"] for _, metrics in reporter.metrics if "eval_loss" in metrics)
    assert last < first


def test_labels_in_the_last_update_of_a_pass_count_for_no_more_than_others(tmp_path: Path, parent: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    changes: dict[str, Any] = {
        "batch_size": 2,
        "gradient_accumulation_steps": 4,
        "max_steps": 2,
        "learning_rate": 1e-12,
    }
    job, reporter = make_job(tmp_path, parent, method="kto", **changes), QuietReporter()
    label = pq.read_table(job.dataset / "labels.parquet").slice(0, 1)
    pq.write_table(pa.concat_tables([label] * 10), job.dataset / "labels.parquet")
    train(job, reporter)
    whole, rest = (metrics["grad_norm"] for _, metrics in reporter.metrics if "grad_norm" in metrics)
    assert rest == pytest.approx(whole / 4, rel=1e-3), "two labels in place of eight"


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_activations_computed_again_give_the_same_weights(tmp_path: Path, parent: Path, method: str):
    kept = train(make_job(tmp_path / "kept", parent, method=method, tuning="full", learning_rate=1e-3))
    again = train(
        make_job(
            tmp_path / "again", parent, method=method, tuning="full", learning_rate=1e-3, activation_checkpointing=True
        )
    )
    assert again.weights_sha256 == kept.weights_sha256


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_batches_of_like_length_train_all_rows(tmp_path: Path, parent: Path, method: str):
    trained = train(make_job(tmp_path, parent, method=method, length_grouped=True))
    assert (trained.steps, trained.pairs) == (4, 16)


def test_full_dpo_changes_all_layers_against_its_own_parent(tmp_path: Path, parent: Path):
    reporter = QuietReporter()
    job = make_job(tmp_path, parent, method="dpo", tuning="full", learning_rate=1e-3)
    train(job, reporter)
    assert abs(reporter.metrics[0][1]["rewards/margins"]) < 1e-5
    assert reporter.metrics[-1][1]["rewards/margins"] > 0
    assert "model.embed_tokens.weight" in list_changed(job.candidate, parent)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_reward_model_ranks_pairs_it_never_saw(tmp_path: Path, parent: Path, tuning: str):
    from transformers import AutoModelForSequenceClassification

    reporter = QuietReporter()
    job = make_job(tmp_path, parent, method="reward", tuning=tuning, max_steps=8, eval_steps=8)
    train(job, reporter)
    assert is_reward_model(job.candidate)
    assert not is_reward_model(parent)
    assert AutoModelForSequenceClassification.from_pretrained(job.candidate).config.num_labels == 1
    assert next(m["eval_accuracy"] for _, m in reporter.metrics if "eval_accuracy" in m) >= 0.9


def test_a_reward_model_is_asked_where_it_was_taught_at_the_end_of_the_answer(parent: Path, reward_model: Path):
    from trl.experimental.utils import get_reward

    tokenizer = load_tokenizer(reward_model)
    model = load_reward_model(reward_model, tokenizer).eval()
    ask = build_scorer(model, tokenizer)
    for pair in make_pairs(8)[:3]:
        prompt, answers = pair["prompt"], (pair["chosen"], pair["rejected"])
        asked = len(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False))
        scores = []
        for answer in answers:
            ids = cut_behind_end(
                tokenizer.apply_chat_template(prompt + answer, return_dict=False), tokenizer.eos_token_id
            )
            padded = torch.tensor([[*ids, tokenizer.pad_token_id]])
            with torch.inference_mode():  # as ppo asks
                scores.append(get_reward(model, padded, tokenizer.pad_token_id, asked)[1].item())
        assert ask(prompts=[prompt] * 2, completions=list(answers)) == pytest.approx(scores, abs=1e-4)
        assert scores[0] > scores[1]


def test_an_answer_that_was_cut_off_is_scored_where_it_stops_and_pays_for_it(parent: Path, reward_model: Path):
    tokenizer = load_tokenizer(reward_model)
    model = load_reward_model(reward_model, tokenizer).eval()
    pair, end = make_pairs(1)[0], tokenizer.eos_token_id
    text = tokenizer(pair["chosen"][0]["content"])["input_ids"]
    ended, cut = build_scorer(model, tokenizer, cut_off_penalty=2.0)(
        prompts=[pair["prompt"]] * 2, completions=[pair["chosen"]] * 2, completion_ids=[[*text, end], text]
    )
    whole = tokenizer.apply_chat_template(pair["prompt"] + pair["chosen"], return_dict=False)
    ids = cut_behind_end(whole, end)
    with torch.inference_mode():
        scores = [model(torch.tensor([each])).logits[0, 0].item() for each in (ids, ids[:-1])]
    assert [ended, cut] == pytest.approx([scores[0], scores[1] - 2.0], abs=1e-4)


def test_prompts_that_leave_no_room_for_an_answer_are_not_sampled_from(parent: Path):
    tokenizer, short = load_tokenizer(parent), make_pairs(3)
    long = {"prompt": [{"role": "user", "content": "Where is it? " * 40}]}
    prompts = make_dataset([{"prompt": pair["prompt"]} for pair in short] + [long])
    recipe = parse_recipe({"name": "tiny", "method": "rloo", "reward_model": "r", "max_length": 96, "max_steps": 1})
    short, refusals = keep_short_prompts(prompts, tokenizer, recipe)
    assert (len(short), refusals) == (3, {"no_room": 1})
    with pytest.raises(TrainingFailed, match="no prompt of the dataset fits into 32 tokens"):
        keep_short_prompts(make_dataset([long]), tokenizer, recipe)


def test_what_a_template_writes_behind_an_answer_is_not_scored():
    assert cut_behind_end([5, 2, 6, 7, 2, 9], end=2) == [5, 2, 6, 7, 2]
    assert cut_behind_end([5, 6, 7], end=2) == [5, 6, 7]


def test_a_pair_as_likely_wrong_as_right_teaches_a_reward_model_nothing(tmp_path: Path, parent: Path):
    trainer = make_reward_trainer(tmp_path, parent, make_pairs(2, epsilon=0.5) + make_pairs(2, epsilon=0.3))
    nothing, something = (calculate_gradient(trainer, slice(first, first + 2)) for first in (0, 2))
    assert nothing.abs().max() == 0.0
    assert something.abs().max() > 1e-4


def test_without_doubt_a_reward_model_learns_by_trls_own_loss(tmp_path: Path, parent: Path):
    from trl import RewardTrainer

    trainer = make_reward_trainer(tmp_path, parent, make_pairs(4, epsilon=0.0))
    ours = trainer.compute_loss(trainer.model, collate(trainer, slice(0, 4)))
    plain = {name: value for name, value in collate(trainer, slice(0, 4)).items() if name not in {"epsilon", "weight"}}
    torch.testing.assert_close(ours, RewardTrainer.compute_loss(trainer, trainer.model, plain))


def test_a_reward_model_is_not_asked_to_rank_two_answers_that_are_the_same(tmp_path: Path, parent: Path):
    pair = make_pairs(1)[0]
    trainer = make_reward_trainer(tmp_path, parent, [*make_pairs(3), pair | {"rejected": pair["chosen"]}])
    assert len(trainer.train_dataset) == 3


def make_reward_trainer(folder: Path, parent: Path, pairs: list[dict[str, Any]]) -> EpsilonRewardTrainer:
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig

    tokenizer = load_tokenizer(parent)
    model = AutoModelForSequenceClassification.from_pretrained(parent, num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = tokenizer.pad_token_id
    return EpsilonRewardTrainer(
        model=model,
        args=RewardConfig(str(folder), per_device_train_batch_size=4, use_cpu=True, bf16=False, report_to="none"),
        data_collator=EpsilonRewardCollator(pad_token_id=tokenizer.pad_token_id),
        train_dataset=load_pairs(save_dataset(folder / "data", pairs) / "train.parquet"),
        processing_class=tokenizer,
    )


def collate(trainer: EpsilonRewardTrainer, rows: slice) -> dict[str, Any]:
    trainer.model.train()
    batch: dict[str, Any] = trainer.data_collator(
        [trainer.train_dataset[index] for index in range(len(trainer.train_dataset))[rows]]
    )
    return batch


def calculate_gradient(trainer: EpsilonRewardTrainer, rows: slice) -> Any:
    trainer.model.zero_grad()
    trainer.compute_loss(trainer.model, collate(trainer, rows)).backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


@pytest.mark.parametrize("method", ["sft", "kto", "reward"])
def test_a_resumed_run_ends_at_the_weights_of_an_undisturbed_one(tmp_path: Path, parent: Path, method: str):
    undisturbed = train(make_job(tmp_path / "a", parent, method=method))
    reporter = QuietReporter(stop_at=3)
    with pytest.raises(Interrupted):
        train(make_job(tmp_path / "b", parent, method=method), reporter)
    resumed = QuietReporter()
    trained = train(make_job(tmp_path / "b", parent, 2, reporter.checkpoints[-1], method=method), resumed)
    assert resumed.steps == [4]
    assert trained.weights_sha256 == undisturbed.weights_sha256


def test_a_dataset_without_the_methods_rows_is_refused(tmp_path: Path, parent: Path):
    freeze(tmp_path / "datasets", answers=0, labels=0)
    with pytest.raises(TrainingFailed, match="no answers to imitate"):
        train(make_job(tmp_path, parent, method="sft"))
    with pytest.raises(TrainingFailed, match="no unpaired labels"):
        train(make_job(tmp_path, parent, method="kto"))


def test_without_corrections_the_chosen_answers_can_be_imitated(tmp_path: Path, parent: Path):
    freeze(tmp_path / "datasets", answers=0)
    assert train(make_job(tmp_path, parent, method="sft", sft_rows="chosen", max_steps=1)).pairs == 16


@pytest.mark.parametrize("method", ["rloo", "grpo", "ppo"])
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_policy_climbs_a_reward_model(tmp_path: Path, parent: Path, reward_model: Path, method: str, tuning: str):
    reporter = QuietReporter()
    job = make_job(tmp_path, parent, method=method, tuning=tuning, reward_model=str(reward_model), **SAMPLED)
    trained = train(job, reporter)
    assert trained.steps == 3
    assert list_changed(job.candidate, parent)
    names = {"objective/kl", "objective/scores", "loss/value_avg"} if method == "ppo" else {"kl", "reward", "entropy"}
    assert all(names <= metrics.keys() for _, metrics in reporter.metrics)


@pytest.mark.parametrize("method", ["rloo", "grpo", "ppo"])
def test_sampled_answers_are_described_and_peoples_preference_is_measured(
    tmp_path: Path, parent: Path, reward_model: Path, method: str
):
    reporter = QuietReporter()
    train(make_job(tmp_path, parent, method=method, reward_model=str(reward_model), **SAMPLED, eval_steps=2), reporter)
    preferences = {step: m["eval_preference"] for step, m in reporter.metrics if "eval_preference" in m}
    assert preferences.keys() == {0, 2}
    assert all(0 <= share <= 1 for share in preferences.values())
    sampled = [metrics for _, metrics in reporter.metrics if "loss" in metrics]
    assert all(0 < metrics["completions/distinct_2"] <= 1 for metrics in sampled)
    assert all(0 < metrics["completions/mean_length"] <= 12 for metrics in sampled)


def test_a_policy_that_imitates_chosen_answers_ranks_validation_pairs_right(tmp_path: Path, parent: Path):
    job = make_job(tmp_path, parent, method="sft", sft_rows="chosen", max_steps=20)
    train(job)
    preference = ValidationPreference(job.dataset / "validation.parquet", load_tokenizer(parent), 96)
    assert preference.measure(load_policy(job.candidate)) == 1.0


def test_pairs_too_long_to_be_trained_on_are_not_ranked(tmp_path: Path, parent: Path):
    job = make_job(tmp_path, parent, method="sft")
    preference = ValidationPreference(job.dataset / "validation.parquet", load_tokenizer(parent), 8)
    assert preference.measure(load_policy(parent)) is None


@pytest.mark.parametrize("method", ["rloo", "grpo", "ppo"])
def test_a_resumed_sampling_run_ends_at_the_weights_of_an_undisturbed_one(
    tmp_path: Path, parent: Path, reward_model: Path, method: str
):
    changes: dict[str, Any] = SAMPLED | {"method": method, "reward_model": str(reward_model)}
    undisturbed = train(make_job(tmp_path / "a", parent, **changes))
    reporter = QuietReporter(stop_at=2)
    with pytest.raises(Interrupted):
        train(make_job(tmp_path / "b", parent, **changes), reporter)
    trained = train(make_job(tmp_path / "b", parent, 2, reporter.checkpoints[-1], **changes))
    assert trained.weights_sha256 == undisturbed.weights_sha256


def test_a_resumed_ppo_run_keeps_its_value_model_price_of_kl_and_log(tmp_path: Path, parent: Path, reward_model: Path):
    changes: dict[str, Any] = SAMPLED | {"method": "ppo", "reward_model": str(reward_model), "target_kl": 50.0}
    changes |= {"tuning": "full", "max_steps": 5, "save_steps": 2}
    undisturbed, whole = QuietReporter(), make_job(tmp_path / "a", parent, **changes)
    expected = train(whole, undisturbed)
    interrupted, resumed = QuietReporter(stop_at=3), QuietReporter()
    with pytest.raises(Interrupted):
        train(make_job(tmp_path / "b", parent, **changes), interrupted)
    assert [checkpoint.name for checkpoint in interrupted.checkpoints] == ["checkpoint-2", "checkpoint-3"]
    trained = train(make_job(tmp_path / "b", parent, 2, interrupted.checkpoints[-1], **changes), resumed)
    assert (resumed.steps, trained.steps) == ([4, 5], 5)
    assert trained.weights_sha256 == expected.weights_sha256
    names = ("loss/value_avg", "kl_coefficient", "objective/kl")
    figures = [[metrics[name] for name in names] for _, metrics in undisturbed.metrics]
    assert [[metrics[name] for name in names] for _, metrics in resumed.metrics] == figures[3:]
    assert sorted(folder.name for folder in whole.checkpoints.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-5"]


def test_ppo_lowers_its_kl_coefficient_below_the_target_and_stops_when_told(
    tmp_path: Path, parent: Path, reward_model: Path
):
    reporter = QuietReporter(stop_at=2)
    changes: dict[str, Any] = SAMPLED | {"method": "ppo", "reward_model": str(reward_model), "target_kl": 50.0}
    with pytest.raises(Interrupted):
        train(make_job(tmp_path, parent, **changes), reporter)
    coefficients = [metrics["kl_coefficient"] for _, metrics in reporter.metrics]
    assert coefficients == pytest.approx([0.05, 0.05 * 0.98])


@pytest.mark.parametrize("method", ["rloo", "grpo", "ppo"])
def test_a_guard_ends_a_sampling_run_with_its_reason(tmp_path: Path, parent: Path, reward_model: Path, method: str):
    changes: dict[str, Any] = SAMPLED | {"method": method, "reward_model": str(reward_model), "learning_rate": 1e30}
    with pytest.raises(TrainingFailed, match=r"is nan|are nan|is inf"):
        train(make_job(tmp_path, parent, **changes))


def test_a_chat_model_is_no_reward_model(tmp_path: Path, parent: Path):
    with pytest.raises(TrainingFailed, match="holds no reward model"):
        train(make_job(tmp_path, parent, method="ppo", reward_model=str(parent), **SAMPLED))


@pytest.mark.parametrize(
    "stages",
    [
        [{"method": "sft"}, {"method": "dpo"}],
        [{"method": "reward"}, {"method": "rloo"} | SAMPLED],
        [{"method": "reward"}, {"method": "grpo"} | SAMPLED],
        [{"method": "reward"}, {"method": "ppo"} | SAMPLED],
    ],
    ids=["sft-dpo", "reward-rloo", "reward-grpo", "reward-ppo"],
)
def test_a_ladder_ends_in_one_chat_model(tmp_path: Path, parent: Path, stages: list[dict[str, Any]]):
    shared = {"max_steps": 2, "learning_rate": 1e-2, "max_length": 96}
    named = [{"name": stage["method"]} | shared | stage for stage in stages]
    recipe = parse_recipe({"name": "tiny", "method": "ladder", "stages": named})
    job = Job(recipe, parent, freeze(tmp_path / "datasets"), tmp_path / "1", None, tmp_path / "1" / "candidate")
    reporter = QuietReporter()
    trained = train_ladder(job, reporter, TRAIN)
    assert reporter.steps == list(range(1, recipe.steps + 1))
    assert trained.steps == recipe.steps
    assert list_changed(job.candidate, parent)
    assert not (job.candidate / "complete").exists()
