"""TRL's SFT without padding: on a GPU, in 16 bits, a batch is one row, and logits are made for the answers alone."""

from typing import Any

from torch import Tensor
from trl import SFTTrainer

from services.trainer.adapters.methods.late_metrics import LateMetrics
from services.trainer.adapters.methods.likelihoods.packing import has_plain_head, pack_rows, score_pack, take_up_kernel


class PackedSFTTrainer(LateMetrics, SFTTrainer):  # type: ignore[misc]  # trl is untyped
    """The same loss and the same figures as TRL's, from packed rows where the model takes the kernel for them.

    `packs`: whether to try; only a model in one piece can be read around what wraps it.
    """

    def __init__(self, *args: Any, packs: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._longest = self.args.max_length
        self._packs = (
            packs
            and has_plain_head(self.model)
            and take_up_kernel(self.model, self.accelerator.autocast, self._longest)
        )
        if self._packs:  # a batch is made in half of the time that Python's lists take, while the GPU waits
            self.train_dataset: Any = self.train_dataset.with_format("numpy")

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if not self._packs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        pack = pack_rows(inputs, self._longest)
        with self.accelerator.autocast():
            found = score_pack(model, pack, with_kernel=True)
        loss: Tensor = -found.logps.sum() / (len(pack.targets) if num_items_in_batch is None else num_items_in_batch)
        self._record(pack.input_ids.shape[1], found.entropies, found.hits)
        return (loss, {}) if return_outputs else loss

    def _record(self, tokens: int, entropies: Tensor, hits: Tensor) -> None:
        mode = "train" if self.model.training else "eval"
        self._metrics[mode]["entropy"].append(entropies.mean())
        self._metrics[mode]["mean_token_accuracy"].append(hits.mean())
        if mode == "train":
            self._total_train_tokens += tokens
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
