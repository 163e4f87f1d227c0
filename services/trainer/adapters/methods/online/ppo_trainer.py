"""TRL's PPO trainer, made to save checkpoints and to go on from one.

TRL's own saves nothing but the policy, always begins at the first step, draws the order of its prompts from the global
generator, and heeds no request to stop. Comments above overrides say what TRL 1.12.0 does.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl.experimental.ppo import PPOTrainer

from services.trainer.adapters.artifacts.checkpoints import delete_folder

WEIGHTS, PROGRESS, STATE = "weights.pt", "progress.pt", "trainer_state.json"


class Finished(Exception):
    """The run ends before its last step: what is raised to leave TRL's loop."""


class ResumablePPOTrainer(PPOTrainer):  # type: ignore[misc]  # trl is untyped
    """Trains as TRL's does, from the start or from a checkpoint, to the same weights."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._updates: int = self.args.num_total_batches
        self.resumed: Any = None
        """The state that the checkpoint held; None: the run begins."""

    # TRL's takes no checkpoint, and counts from 0 whatever its state says; `resume` corrects that as training begins.
    def train(self, resume_from_checkpoint: str | None = None) -> None:
        """Train to the end, or until `Finished` is raised."""
        step = 0
        if resume_from_checkpoint is not None:
            step = self._load(Path(resume_from_checkpoint))
        self.dataloader = PromptBatches(
            self.train_dataset, self.data_collator, self.local_dataloader_batch_size, self.args.seed, skip=step
        )
        self.args.num_total_batches = self._updates - step
        with suppress(Finished):
            super().train()

    def resume(self, state: Any) -> None:
        """Put the step, what was logged, the price of KL and the generators to where the checkpoint had them."""
        state.max_steps = self._updates
        if self.resumed is None:
            return
        for name in ("global_step", "episode", "log_history"):
            setattr(state, name, getattr(self.resumed, name))

    def restore_generators(self) -> None:
        """Restore the generators: last of all before the first step, for whatever is measured there may draw."""
        if self.resumed is not None:
            self.args.kl_coef = self._kl_coefficient
            self._load_rng_state(self._checkpoint)

    # TRL calls transformers' own, which saves the policy alone, as a model to be used.
    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save what the next step depends on, and delete all but the newest checkpoints."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self._list_weights(), folder / WEIGHTS)
        progress = {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.lr_scheduler.state_dict(),
            "kl_coefficient": float(self.args.kl_coef),
        }
        torch.save(progress, folder / PROGRESS)
        self._save_rng_state(str(folder))
        self.state.save_to_json(str(folder / STATE))
        self._drop_old()

    def _list_weights(self) -> dict[str, Tensor]:
        """List what is trained, of policy and value model."""
        return {name: weight.detach() for name, weight in self.model.named_parameters() if weight.requires_grad}

    def _load(self, checkpoint: Path) -> int:
        device = self.accelerator.device
        saved = torch.load(checkpoint / WEIGHTS, map_location=device, weights_only=True)
        with torch.no_grad():
            for name, weight in self._list_weights().items():
                weight.copy_(saved[name])
        progress = torch.load(checkpoint / PROGRESS, map_location=device, weights_only=True)
        self.optimizer.load_state_dict(progress["optimizer"])
        self.lr_scheduler.load_state_dict(progress["scheduler"])
        self._kl_coefficient, self._checkpoint = progress["kl_coefficient"], str(checkpoint)
        self.resumed = type(self.state).load_from_json(str(checkpoint / STATE))
        step: int = self.resumed.global_step
        return step

    def _drop_old(self) -> None:
        saved = Path(self.args.output_dir).glob("checkpoint-*")
        ordered = sorted(saved, key=lambda folder: int(folder.name.removeprefix("checkpoint-")))
        for folder in ordered[: -self.args.save_total_limit]:
            delete_folder(folder)


class PromptBatches:
    """Batches of prompts without end, in an order that follows from the seed alone."""

    def __init__(self, rows: Any, collate: Any, size: int, seed: int, *, skip: int) -> None:
        """Begin after `skip` batches of `size` rows; those that fill no batch are left out of their pass."""
        self._rows, self._collate, self._size, self._seed, self._skip = rows, collate, size, seed, skip

    def __iter__(self) -> Iterator[Any]:
        whole = len(self._rows) // self._size
        for index in count(self._skip):
            done, place = divmod(index, whole)
            order = torch.randperm(len(self._rows), generator=torch.Generator().manual_seed(self._seed + done))
            chosen = order[place * self._size : (place + 1) * self._size].tolist()
            yield self._collate([self._rows[row] for row in chosen])
