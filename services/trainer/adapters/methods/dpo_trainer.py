"""TRL's DPO trainer with a loss of our own, in which each pair counts by its ε (see `epsilon`).

Shapes: B pairs in a micro-batch, L tokens in its longest sequence. A tensor named `..._b` is (B,), `..._2b` is (2B,):
the chosen answers' values, then the rejected ones'. Comments above overrides say what TRL 1.12.0 does.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from trl import DPOTrainer
from trl.trainer.utils import use_adapter

from services.trainer.adapters.artifacts.dataset import keep_trainable, weigh_pairs
from services.trainer.adapters.distributed.streaming import stream_layers
from services.trainer.adapters.methods.epsilon import average_losses, calculate_noisy_losses
from services.trainer.adapters.methods.late_metrics import LateMetrics
from services.trainer.adapters.methods.likelihoods.packing import take_up_kernel
from services.trainer.adapters.methods.likelihoods.pair_scores import Scores, score_padded, score_shared
from services.trainer.domain.recipe.schema import LossType
from shared.errors import InvalidRequest

REFERENCE = "ref"
"""What TRL calls the frozen copy of an adapter that is trained on."""


class EpsilonDPOTrainer(LateMetrics, DPOTrainer):  # type: ignore[misc]  # trl is untyped
    """Trains on pairs with an `epsilon` column. Logs loss, entropy, rewards/* and logps/*."""

    def __init__(
        self,
        *args: Any,
        losses: list[tuple[LossType, float]],
        shares_prefixes: bool = False,
        divides_later: bool = False,
        before_reference: Callable[[], None] = lambda: None,
        **kwargs: Any,
    ) -> None:
        """Prepare the trainer.

        Args:
            losses: each loss with its factor.
            shares_prefixes: whether the model `can_share`, and is in one piece.
            divides_later: whether the model is whole, and on the host, until training begins.
            before_reference: called before each batch of reference log-probabilities; may raise.

        Raises:
            ValueError: the Liger kernel is on.
        """
        self._losses = losses
        self._score = score_shared if shares_prefixes else score_padded
        self._divides_later = divides_later
        self._before_reference = before_reference
        self.refusals: dict[str, Counter[str]] = {}
        self._may_take_kernel = shares_prefixes
        super().__init__(*args, **kwargs)
        self.current_gradient_accumulation_steps: int = self.args.gradient_accumulation_steps  # per update, later
        if self.use_liger_kernel:
            raise ValueError("the Liger kernel takes another path that would ignore epsilon")

    # TRL tokenizes the pairs and leaves cutting to the collator, so a pair whose sides differ only behind `max_length`
    # is trained on as two identical answers. Ours refuses such pairs, and adds the weights that the loss needs.
    def _prepare_dataset(self, dataset: Dataset, processing_class: Any, args: Any, dataset_name: str) -> Dataset:
        """Tokenize the pairs, keep those that still differ after truncation, and add their weights and lengths."""
        limit = args.max_length
        trainable, refusals = keep_trainable(dataset, processing_class, limit)
        if not len(trainable):
            raise InvalidRequest(f"none of {len(dataset)} pairs leaves room for an answer in {limit} tokens")
        tokenized = super()._prepare_dataset(trainable, processing_class, args, dataset_name)
        prepared = tokenized.filter(lambda pair: _differs(pair, limit))
        self.refusals[dataset_name] = +(refusals + Counter(same_answers=len(trainable) - len(prepared)))
        lengths = [_measure_length(pair, limit) for pair in prepared]
        prepared = prepared.add_column("length", lengths)  # what batches are grouped by
        return prepared.add_column("weight", weigh_pairs(prepared))

    # TRL lists the columns that its own loss reads; transformers drops all others before the collator sees them.
    def _set_signature_columns_if_needed(self) -> None:
        """Keep the columns that our loss reads, too."""
        super()._set_signature_columns_if_needed()
        columns = [*self._signature_columns, "epsilon", "weight", "length"]
        self._signature_columns: list[str] = list(dict.fromkeys(columns))

    # TRL runs the padded batch, prompts included, through the head, outside autocast, and under FSDP2 on a model that
    # is still on the CPU. Ours scores the answers only, in the precision of the steps to come, layer by layer.
    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Calculate the parent's log-probabilities of the chosen and of the rejected answers: (B,) each."""
        self._before_reference()
        self._take_up_kernel()
        policy = self.accelerator.unwrap_model(self.model)  # before the first step a whole model is its own reference
        parent = _as_reference(policy) if isinstance(policy, PeftModel) else nullcontext()
        device = self.accelerator.device
        streamed = stream_layers(policy, lambda own: own.to(device)) if self._divides_later else nullcontext()
        with torch.no_grad(), self.accelerator.autocast(), parent, streamed:
            chosen_b, rejected_b = self._score(model, inputs, with_entropy=False).logps_2b.chunk(2)
        return chosen_b, rejected_b

    def _take_up_kernel(self) -> None:
        """Take up the kernel for packed rows, once, before the first reference: the model is on its device then."""
        longest = self.args.max_length
        if self._may_take_kernel and take_up_kernel(self.model, self.accelerator.autocast, longest):
            self._score = partial(score_shared, with_kernel=True, longest=longest)
        self._may_take_kernel = False

    # TRL averages -log sigmoid over the micro-batch and knows no weights; `loss_type` and `label_smoothing` apply one ε
    # to every pair. Ours gives each pair its own ε and weight.
    def _compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool) -> Any:
        """Calculate the loss of a micro-batch, and keep its figures for the log. Inputs: token arrays of (2B, L)."""
        with self.accelerator.autocast():
            scores = self._score(model, inputs, with_entropy=True)
        chosen_b, rejected_b = scores.logps_2b.chunk(2)
        chosen_gain_b = chosen_b - inputs["ref_chosen_logps"]
        rejected_gain_b = rejected_b - inputs["ref_rejected_logps"]
        unweighted_b = torch.zeros_like(chosen_b)
        for kind, factor in self._losses:
            losses_b = self._calculate_losses(
                kind, chosen_gain_b, rejected_gain_b, chosen_b, scores.lengths_2b, inputs["epsilon"]
            )
            unweighted_b = unweighted_b + factor * losses_b
        self._record(scores, chosen_gain_b.detach(), rejected_gain_b.detach())
        self._count_tokens(inputs["attention_mask"])
        accumulated = self.current_gradient_accumulation_steps if self.model.training else None
        loss = average_losses(inputs["weight"] * unweighted_b, self.args, accumulated)
        return (loss, {}) if return_outputs else loss

    def _calculate_losses(
        self,
        kind: LossType,
        chosen_gain_b: Tensor,
        rejected_gain_b: Tensor,
        chosen_b: Tensor,
        lengths_2b: Tensor,
        epsilon_b: Tensor,
    ) -> Tensor:
        """Calculate the loss of each pair before its weight, (B,).

        - sigmoid: Rafailov et al. 2023, eq. 7, under label noise
        - ipo: Azar et al. 2023, eq. 17, on means over tokens
        - sft: the mean negative log-likelihood of the chosen answer

        The last two know ε by the weight alone. A gain is the policy's log-probability of an answer minus the
        reference's, in nats.
        """
        chosen_lengths_b, rejected_lengths_b = lengths_2b.chunk(2)
        if kind == "sigmoid":
            return calculate_noisy_losses(self.beta * (chosen_gain_b - rejected_gain_b), epsilon_b)
        if kind == "ipo":
            delta_b = chosen_gain_b / chosen_lengths_b - rejected_gain_b / rejected_lengths_b
            return (delta_b - 1 / (2 * self.beta)) ** 2
        return -chosen_b / chosen_lengths_b

    def _record(self, scores: Scores, chosen_gain_b: Tensor, rejected_gain_b: Tensor) -> None:
        """Put the batch's figures where `log` takes their means from."""
        gather = self.accelerator.gather
        chosen_b, rejected_b = scores.logps_2b.detach().chunk(2)
        figures = {
            "rewards/chosen": self.beta * chosen_gain_b,
            "rewards/rejected": self.beta * rejected_gain_b,
            "rewards/margins": self.beta * (chosen_gain_b - rejected_gain_b),
            "rewards/accuracies": (chosen_gain_b > rejected_gain_b).float(),
            "logps/chosen": chosen_b,
            "logps/rejected": rejected_b,
        }
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, values_b in figures.items():
            metrics[name].append(gather(values_b).mean())
        metrics["entropy"].append(scores.entropy)

    def _count_tokens(self, attention_mask_2bl: Tensor) -> None:
        """Count tokens that are no padding, prompts too, as TRL's own trainers log them."""
        if self.model.training:
            counted = self.accelerator.gather(attention_mask_2bl.sum()).sum()
            self._total_train_tokens: Any = self._total_train_tokens + counted
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]

    # TRL writes a README for the Hugging Face hub into every checkpoint.
    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: checkpoints are ours alone, and the candidate's lineage is in the registry."""


def _as_reference(policy: PeftModel) -> AbstractContextManager[None]:
    """Have the model answer as its parent: by the frozen copy of an adapter that is trained on, else by the base."""
    name = REFERENCE if REFERENCE in policy.peft_config else None
    answering: AbstractContextManager[None] = use_adapter(policy, name)
    return answering


def _differs(pair: dict[str, list[int]], limit: int) -> bool:
    prompt = pair["prompt_ids"]
    return (prompt + pair["chosen_ids"])[:limit] != (prompt + pair["rejected_ids"])[:limit]


def _measure_length(pair: dict[str, list[int]], limit: int) -> int:
    """Tokens of the longer side, as far as it is trained on."""
    return min(len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"])), limit)
