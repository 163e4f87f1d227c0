"""The method `reward`: a model that scores answers, from pairs with their probability ε of being the wrong way round.

The loss is that of `dpo` (`epsilon.calculate_noisy_losses`), m being the margin between the two scores.

An answer is scored at the token that ends it, the last one that a policy samples. Chat templates write more behind it
(a newline, mostly), which TRL's own reward trainer scores at; a policy's samples never get there.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import suppress_seqcls_warning

from services.trainer.adapters.artifacts.candidate import make_readable
from services.trainer.adapters.artifacts.dataset import keep_renderable, keep_trainable, load_pairs, weigh_pairs
from services.trainer.adapters.artifacts.harm_pairs import add_harm_pairs
from services.trainer.adapters.methods.arguments import build_config
from services.trainer.adapters.methods.epsilon import (
    COLUMNS,
    EpsilonRewardCollator,
    average_losses,
    calculate_noisy_losses,
)
from services.trainer.adapters.methods.guard_callback import GuardCallback
from services.trainer.adapters.methods.models import check_padding, load_tokenizer, make_adapter_config, merge_adapter
from services.trainer.adapters.methods.training_loop import (
    check_refused,
    prepare_training,
    run_training_loop,
    summarise_result,
)
from services.trainer.domain.training import Job, TrainingFailed, TrainingResult
from services.trainer.ports import RunReporter
from shared.artifacts import calculate_weights_sha256
from shared.artifacts.models import find_base
from shared.errors import InvalidRequest

SIDES = ("chosen_ids", "rejected_ids")


class EpsilonRewardTrainer(RewardTrainer):  # type: ignore[misc]  # trl is untyped
    """Trains on pairs with an `epsilon` column.

    Pairs with a side above the length limit are left out, not cut; so are pairs whose sides are the same tokens up to
    the answer's end.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.refusals: dict[str, Counter[str]] = {}
        super().__init__(*args, **kwargs)
        self.current_gradient_accumulation_steps: int = self.args.gradient_accumulation_steps  # per update, later

    # TRL scores a conversation at its last token, which a chat template writes behind the end of the answer. Ours cuts
    # there, and adds the weights that the loss needs.
    def _prepare_dataset(self, dataset: Dataset, processing_class: Any, args: Any, dataset_name: str) -> Dataset:
        """Tokenize the pairs up to the ends of their answers, and add their weights."""
        short = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        end = processing_class.eos_token_id
        prepared = short.map(lambda pair: {side: cut_behind_end(pair[side], end) for side in SIDES})
        prepared = prepared.filter(lambda pair: pair["chosen_ids"] != pair["rejected_ids"])
        refusals = Counter(too_long=len(dataset) - len(short), same_answers=len(short) - len(prepared))
        self.refusals[dataset_name] = +refusals
        return prepared.add_column("weight", weigh_pairs(prepared))

    # TRL lists the columns that its own loss reads; transformers drops all others before the collator sees them.
    def _set_signature_columns_if_needed(self) -> None:
        """Keep the columns that our loss reads, too."""
        super()._set_signature_columns_if_needed()
        self._signature_columns: list[str] = list(dict.fromkeys([*self._signature_columns, *COLUMNS]))

    # TRL averages -log sigmoid of the margin over the micro-batch and knows no weights. It is called for what it logs.
    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any) -> Any:
        """Calculate the loss of a micro-batch of B pairs. Inputs: token arrays of (2B, L), chosen first."""
        epsilon_b, weight_b = (inputs.pop(column) for column in COLUMNS)
        _, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        chosen_b, rejected_b = outputs.logits.squeeze(-1).chunk(2)
        unweighted_b = calculate_noisy_losses(chosen_b - rejected_b, epsilon_b)
        accumulated = self.current_gradient_accumulation_steps if self.model.training else None
        loss = average_losses(weight_b * unweighted_b, self.args, accumulated)
        return (loss, outputs) if return_outputs else loss


def cut_behind_end(ids: list[int], end: int) -> list[int]:
    """Cut a conversation's tokens behind the one that ends its last answer; keep all if none does."""
    return ids[: len(ids) - ids[::-1].index(end)] if end in ids else ids


def train_reward(job: Job, reporter: RunReporter) -> TrainingResult:
    """Train, and save the reward model where a candidate goes. It answers nobody: it is for `rloo`, `grpo` and `ppo`.

    Raises: as `services.trainer.domain.training.Train`.
    """
    prepare_training(job, reporter)
    callback = GuardCallback(job.recipe, reporter)
    tokenizer = load_tokenizer(job.parent)
    with suppress_seqcls_warning():
        base = find_base(job.parent)  # an adapter has taught its base to answer, which says nothing of what is good
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    check_padding(tokenizer)
    model.config.pad_token_id = tokenizer.pad_token_id
    pairs, refused = keep_trainable(load_pairs(job.dataset / "train.parquet"), tokenizer, job.recipe.length)
    if job.recipe.harm_share:
        pairs, note = add_harm_pairs(pairs, job.dataset, tokenizer, job.recipe)
        reporter.on_note(note)
    trainer = _build_trainer(job, model, tokenizer, pairs, callback)
    refusals = refused + trainer.refusals["train"]
    check_refused(len(trainer.train_dataset), refusals, job.recipe, reporter)
    run_training_loop(job, reporter, trainer, callback)
    reporter.on_phase("saving")
    merged = merge_adapter(trainer.accelerator.unwrap_model(trainer.model), job.parent)
    weights_sha256 = save_reward_model(merged, tokenizer, job.candidate)
    return summarise_result(trainer, callback, weights_sha256, refusals)


def _build_trainer(
    job: Job, model: Any, tokenizer: Any, pairs: Dataset, callback: GuardCallback
) -> EpsilonRewardTrainer:
    recipe = job.recipe
    try:
        return EpsilonRewardTrainer(
            model=model,
            args=build_config(RewardConfig, recipe, job.checkpoints, max_length=recipe.length),
            data_collator=EpsilonRewardCollator(pad_token_id=tokenizer.pad_token_id),
            train_dataset=pairs,
            eval_dataset=keep_renderable(load_pairs(job.dataset / "validation.parquet"), tokenizer)
            if recipe.eval_steps
            else None,
            processing_class=tokenizer,
            peft_config=make_adapter_config(recipe, model, "SEQ_CLS"),
            callbacks=[callback],
        )
    except InvalidRequest as error:
        raise TrainingFailed(f"the dataset cannot be trained on: {error.detail}") from error


def save_reward_model(model: Any, tokenizer: Any, folder: Path) -> str:
    """Save a checkpoint folder that `AutoModelForSequenceClassification` loads; returns its weights' hash."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_readable(folder)
    return calculate_weights_sha256(folder)


def is_reward_model(folder: Path) -> bool:
    """Tell whether the folder holds a reward model."""
    config = folder / "config.json"
    if not config.is_file():
        return False
    names = json.loads(config.read_text(encoding="utf-8")).get("architectures") or [""]
    return str(names[0]).endswith("ForSequenceClassification")
