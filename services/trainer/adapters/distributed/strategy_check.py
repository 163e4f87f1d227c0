"""Proof that a distributed run is trained by the strategy that its recipe names."""

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback

from services.trainer.adapters.distributed.collectives import is_main_process
from services.trainer.domain.recipe.sections import ZERO_STAGES, Parallelism
from services.trainer.domain.training import TrainingFailed

RECORD = "parallelism.json"


class StrategyCheck(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Ends a run whose strategy was not taken up: libraries fall back in silence. Records what each process holds."""

    def __init__(self, parallelism: Parallelism, trainer: Any) -> None:
        self._parallelism = parallelism
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Compare the wrapper, its shards and the number of processes with the recipe. Raises: TrainingFailed."""
        wrapped, wanted = self._trainer.model_wrapped, self._parallelism
        found = type(wrapped).__name__
        stage = ZERO_STAGES.get(wanted.strategy)
        if wanted.strategy == "fsdp2":
            divided = [parameter for parameter in wrapped.parameters() if isinstance(parameter, DTensor)]
            engaged = isinstance(wrapped, FSDPModule) and len(divided) == len(list(wrapped.parameters()))
        elif stage is None:
            engaged = isinstance(wrapped, DistributedDataParallel)
        else:
            engaged = found == "DeepSpeedEngine" and wrapped.zero_optimization_stage() == stage
        if not engaged or dist.get_world_size() != wanted.processes:
            raise TrainingFailed(
                f"{wanted.strategy} over {wanted.processes} processes was asked for, "
                f"but the model is held by {found} over {dist.get_world_size()}"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure after a first step, when the optimizer has its state."""
        path = Path(args.output_dir) / RECORD
        if state.global_step > 1 and path.exists():
            return
        wrapped = self._trainer.model_wrapped
        own = {
            "parameters": sum(_count_held(parameter) for parameter in wrapped.parameters()),
            "optimizer_state": count_optimizer_state(self._trainer.optimizer),
            "peak_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        }
        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, own)
        if is_main_process():
            record = {"strategy": self._parallelism.strategy, "wrapper": type(wrapped).__name__, "held": everyone}
            path.write_text(json.dumps(record), encoding="utf-8")


def _count_held(parameter: Any) -> int:
    """Elements of the parameter on this process; under ZeRO-3 and FSDP2 its shard."""
    if isinstance(parameter, DTensor):
        return int(parameter.to_local().numel())
    shard = getattr(parameter, "ds_tensor", None)
    return int(parameter.numel() if shard is None else shard.numel())


def count_optimizer_state(optimizer: Any) -> int:
    """Count the elements of the optimizer's state on this process."""
    while hasattr(optimizer, "optimizer"):  # accelerate's and DeepSpeed's wrappers
        optimizer = optimizer.optimizer
    tensors = (value for state in optimizer.state.values() for value in state.values())
    return sum(_count_held(tensor) for tensor in tensors if torch.is_tensor(tensor) and tensor.dim())
