"""TRL's DPO with a loss of our own, in which each pair counts by its ε (see `epsilon`)."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from trl import DPOTrainer

from services.trainer.adapters.artifacts.dataset import weigh_pairs
from services.trainer.adapters.methods.epsilon import average_losses, calculate_noisy_losses
from services.trainer.adapters.methods.pair_scores import Scores, score_padded, score_shared
from services.trainer.domain.recipe.schema import LossType


class EpsilonDPOTrainer(DPOTrainer):  # type: ignore[misc]  # trl is untyped
    """Pairs need an `epsilon` column. Logs loss, entropy, rewards/* and logps/*.

    `before_reference` is called before each batch of reference log-probabilities, and may raise. `shares_prefixes`: the
    model `can_share`, and is in one piece.
    """

    def __init__(
        self,
        *args: Any,
        losses: list[tuple[LossType, float]],
        shares_prefixes: bool = False,
        before_reference: Callable[[], None] = lambda: None,
        **kwargs: Any,
    ) -> None:
        self._losses = losses
        self._score = score_shared if shares_prefixes else score_padded
        self._before_reference = before_reference
        self.refused: dict[str, int] = {}
        super().__init__(*args, **kwargs)
        self.current_gradient_accumulation_steps: int = self.args.gradient_accumulation_steps  # per update, later
        if self.use_liger_kernel:
            raise ValueError("the Liger kernel takes another path that would ignore epsilon")

    def _prepare_dataset(self, dataset: Dataset, processing_class: Any, args: Any, dataset_name: str) -> Dataset:
        """Tokenized pairs that still differ after truncation, with their weights."""
        limit = args.max_length
        prepared = (
            super()
            ._prepare_dataset(dataset, processing_class, args, dataset_name)
            .filter(
                lambda pair: (
                    (pair["prompt_ids"] + pair["chosen_ids"])[:limit]
                    != (pair["prompt_ids"] + pair["rejected_ids"])[:limit]
                )
            )
        )
        self.refused[dataset_name] = len(dataset) - len(prepared)
        lengths = [
            min(len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"])), limit)
            for pair in prepared
        ]
        prepared = prepared.add_column("length", lengths)  # what batches are grouped by
        return prepared.add_column("weight", weigh_pairs(prepared))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns: list[str] = list(
            dict.fromkeys([*self._signature_columns, "epsilon", "weight", "length"])
        )

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        self._before_reference()
        if self.is_fsdp_enabled:  # on a GPU the model is moved there only as it is divided
            self.model.to(self.accelerator.device)
        policy = self.accelerator.unwrap_model(self.model)  # before the first step a whole model is its own reference
        parent = policy.disable_adapter() if isinstance(policy, PeftModel) else nullcontext()
        with torch.no_grad(), self.accelerator.autocast(), parent:
            chosen, rejected = self._score(model, inputs, with_entropy=False).logps.chunk(2)
        return chosen, rejected

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool) -> Any:
        scores = self._score(model, inputs, with_entropy=True)
        chosen, rejected = scores.logps.chunk(2)
        chosen_gain, rejected_gain = chosen - inputs["ref_chosen_logps"], rejected - inputs["ref_rejected_logps"]
        epsilon = inputs["epsilon"]
        unweighted = torch.zeros_like(chosen)
        for kind, factor in self._losses:
            losses = self._calculate_losses(kind, chosen_gain, rejected_gain, chosen, scores.lengths, epsilon)
            unweighted = unweighted + factor * losses
        self._record(scores, chosen_gain.detach(), rejected_gain.detach())
        self._count_tokens(inputs["attention_mask"])
        accumulated = self.current_gradient_accumulation_steps if self.model.training else None
        loss = average_losses(inputs["weight"] * unweighted, self.args, accumulated)
        return (loss, {}) if return_outputs else loss

    def _calculate_losses(
        self,
        kind: LossType,
        chosen_gain: Tensor,
        rejected_gain: Tensor,
        chosen: Tensor,
        lengths: Tensor,
        epsilon: Tensor,
    ) -> Tensor:
        """Calculate the loss of each pair before its weight, (B,).

        sigmoid: Rafailov et al. 2023, eq. 7, under label noise. ipo: Azar et al. 2023, eq. 17, on means over tokens.
        sft: the mean negative log-likelihood of the chosen answer. The last two know ε by the weight alone.
        """
        chosen_lengths, rejected_lengths = lengths.chunk(2)
        if kind == "sigmoid":
            return calculate_noisy_losses(self.beta * (chosen_gain - rejected_gain), epsilon)
        if kind == "ipo":
            delta = chosen_gain / chosen_lengths - rejected_gain / rejected_lengths
            return (delta - 1 / (2 * self.beta)) ** 2
        return -chosen / chosen_lengths

    def _record(self, scores: Scores, chosen_gain: Tensor, rejected_gain: Tensor) -> None:
        """Put the batch's figures where `log` takes their means from."""
        gather = self.accelerator.gather
        chosen, rejected = scores.logps.detach().chunk(2)
        figures = {
            "rewards/chosen": self.beta * chosen_gain,
            "rewards/rejected": self.beta * rejected_gain,
            "rewards/margins": self.beta * (chosen_gain - rejected_gain),
            "rewards/accuracies": (chosen_gain > rejected_gain).float(),
            "logps/chosen": chosen,
            "logps/rejected": rejected,
        }
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, values in figures.items():
            metrics[name].append(gather(values).mean().item())
        metrics["entropy"].append(scores.entropy)

    def _count_tokens(self, attention_mask: Tensor) -> None:
        """Tokens that are no padding, prompts too, as TRL's own trainers log them."""
        if self.model.training:
            self._total_train_tokens += self.accelerator.gather(attention_mask.sum()).sum().item()
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: checkpoints are ours alone, and the candidate's lineage is in the registry."""
