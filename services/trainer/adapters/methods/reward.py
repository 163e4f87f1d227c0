"""The method `reward`: a model that scores answers, from pairs with their probability ε of being the wrong way round.

The loss is that of `dpo` (`epsilon.calculate_noisy_losses`), m being the margin between the two scores.

An answer is scored at the token that ends it, the last one that a policy samples. Chat templates write more behind it
(a newline, mostly), which TRL's own reward trainer scores at; a policy's samples never get there.
"""

import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import suppress_seqcls_warning

from services.trainer.adapters.artifacts.candidate import make_readable
from services.trainer.adapters.artifacts.dataset import load_pairs, weigh_pairs
from services.trainer.adapters.methods.arguments import list_arguments
from services.trainer.adapters.methods.epsilon import (
    COLUMNS,
    EpsilonRewardCollator,
    average_losses,
    calculate_noisy_losses,
)
from services.trainer.adapters.methods.guard_callback import Observer
from services.trainer.adapters.methods.models import choose_adapter, load_tokenizer, merge
from services.trainer.adapters.methods.training_loop import begin, sum_up, train_through
from services.trainer.domain.training import Job, Trained, TrainingFailed
from services.trainer.ports import Watch
from shared.artifacts import calculate_weights_sha256
from shared.errors import InvalidRequest

SIDES = ("chosen_ids", "rejected_ids")


class EpsilonRewardTrainer(RewardTrainer):  # type: ignore[misc]  # trl is untyped
    """Pairs need an `epsilon` column; pairs with a side above the length limit are left out, not cut.

    Pairs whose sides are the same tokens up to the answer's end are left out too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.current_gradient_accumulation_steps: int = self.args.gradient_accumulation_steps  # per update, later

    def _prepare_dataset(self, dataset: Dataset, processing_class: Any, *args: Any) -> Dataset:
        prepared = super()._prepare_dataset(dataset, processing_class, *args)
        end = processing_class.eos_token_id
        prepared = prepared.map(lambda pair: {side: cut_behind_end(pair[side], end) for side in SIDES})
        prepared = prepared.filter(lambda pair: pair["chosen_ids"] != pair["rejected_ids"])
        return prepared.add_column("weight", weigh_pairs(prepared))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns: list[str] = list(dict.fromkeys([*self._signature_columns, *COLUMNS]))

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any) -> Any:
        """TRL's own is called for what it logs; the loss is ours."""
        epsilon, weight = (inputs.pop(column) for column in COLUMNS)
        _, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
        accumulated = self.current_gradient_accumulation_steps if self.model.training else None
        loss = average_losses(weight * calculate_noisy_losses(chosen - rejected, epsilon), self.args, accumulated)
        return (loss, outputs) if return_outputs else loss


def cut_behind_end(ids: list[int], end: int) -> list[int]:
    """The tokens of a conversation up to the one that ends its last answer; all of them if none does."""
    return ids[: len(ids) - ids[::-1].index(end)] if end in ids else ids


def train_reward(job: Job, watch: Watch) -> Trained:
    """Train, and save the reward model where a candidate goes. It answers nobody: it is for `rloo` and `ppo`.

    Raises: as `services.trainer.domain.training.Train`.
    """
    begin(job, watch)
    observer = Observer(job.recipe, watch)
    tokenizer = load_tokenizer(job.parent)
    with suppress_seqcls_warning():
        model = AutoModelForSequenceClassification.from_pretrained(job.parent, num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = tokenizer.pad_token_id
    pairs = load_pairs(job.dataset / "train.parquet")
    trainer = _build_trainer(job, model, tokenizer, pairs, observer)
    train_through(job, watch, trainer, observer)
    watch.on_phase("saving")
    merged = merge(trainer.accelerator.unwrap_model(trainer.model), job.parent)
    weights_sha256 = save_reward_model(merged, tokenizer, job.candidate)
    return sum_up(trainer, observer, weights_sha256, refused=len(pairs) - len(trainer.train_dataset))


def _build_trainer(job: Job, model: Any, tokenizer: Any, pairs: Dataset, observer: Observer) -> EpsilonRewardTrainer:
    recipe = job.recipe
    arguments = list_arguments(recipe, job.checkpoints)
    try:
        return EpsilonRewardTrainer(
            model=model,
            args=RewardConfig(**arguments, max_length=recipe.max_length),
            data_collator=EpsilonRewardCollator(pad_token_id=tokenizer.pad_token_id),
            train_dataset=pairs,
            eval_dataset=load_pairs(job.dataset / "validation.parquet") if recipe.eval_steps else None,
            processing_class=tokenizer,
            peft_config=choose_adapter(recipe, model, "SEQ_CLS"),
            callbacks=[observer],
        )
    except InvalidRequest as error:
        raise TrainingFailed(f"the dataset cannot be trained on: {error.detail}") from error


def save_reward_model(model: Any, tokenizer: Any, folder: Path) -> str:
    """A checkpoint folder that `AutoModelForSequenceClassification` loads; returns its weights' hash."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_readable(folder)
    return calculate_weights_sha256(folder)


def is_reward_model(folder: Path) -> bool:
    config = folder / "config.json"
    if not config.is_file():
        return False
    names = json.loads(config.read_text(encoding="utf-8")).get("architectures") or [""]
    return str(names[0]).endswith("ForSequenceClassification")
