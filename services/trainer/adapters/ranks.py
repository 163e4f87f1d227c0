"""What the processes of a spread run agree on, and proof that they share the work."""

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import FullyShardedDataParallelPlugin, PartialState
from accelerate.utils import DistributedType
from datasets import Dataset, load_from_disk
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback

from services.trainer.domain.parallelism import ZERO_STAGES, Parallelism
from services.trainer.domain.training import TrainingFailed

RECORD = "parallelism.json"


def is_spread() -> bool:
    return bool(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)


def is_first() -> bool:
    return not is_spread() or dist.get_rank() == 0


def agree(wanted: bool) -> bool:
    """Whether any process wants it. Every process must ask, at the same point."""
    if not is_spread():
        return wanted
    flag = torch.tensor([int(wanted)], device=PartialState().device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag.item())


def wait_for_all() -> None:
    if is_spread():
        dist.barrier()


def leave_out_compiled_parts() -> None:
    """DeepSpeed would compile its shared-memory collectives on a CPU: that takes a compiler, half a minute, and a path
    without spaces, and leaves a lock for ever when it is killed. gloo does the same work.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def share(rows: Dataset, folder: Path) -> Dataset:
    """The rows in one place for all processes: what one adds to them (reference log-probabilities) the others read."""
    if not is_spread():
        return rows
    if is_first():
        rows.save_to_disk(folder)
    wait_for_all()
    return load_from_disk(folder)


def take_up_fsdp(trainer: Any) -> None:
    """On a CPU accelerate leaves the FSDP that it was told of aside and trains under DDP; its own FSDP2 code works
    there once its state says so. On a GPU, where it took it up when the trainer was made, nothing is changed."""
    if trainer.is_fsdp_enabled:
        return
    state = trainer.accelerator.state
    state.distributed_type = DistributedType.FSDP
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    trainer.is_fsdp_enabled = True


def put_together(model: Any) -> dict[str, Any]:
    """The whole weights of a model that FSDP2 divided, on the first process and in the host's memory; one at a time."""
    whole: dict[str, Any] = {}
    for name, weight in model.state_dict().items():
        weight = weight.full_tensor() if isinstance(weight, DTensor) else weight
        if is_first():
            whole[name] = weight.cpu()
    return whole


class EngagementCheck(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Ends a run whose strategy was not taken up: libraries fall back in silence. Records what each process holds."""

    def __init__(self, parallelism: Parallelism, trainer: Any) -> None:
        self._parallelism = parallelism
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
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
        """After a first step the optimizer has its state."""
        path = Path(args.output_dir) / RECORD
        if state.global_step > 1 and path.exists():
            return
        wrapped = self._trainer.model_wrapped
        own = {
            "parameters": sum(_count_held(parameter) for parameter in wrapped.parameters()),
            "optimizer_state": count_state(self._trainer.optimizer),
            "peak_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        }
        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, own)
        if is_first():
            record = {"strategy": self._parallelism.strategy, "wrapper": type(wrapped).__name__, "held": everyone}
            path.write_text(json.dumps(record), encoding="utf-8")


def _count_held(parameter: Any) -> int:
    """Elements of the parameter on this process; under ZeRO-3 and FSDP2 its shard."""
    if isinstance(parameter, DTensor):
        return int(parameter.to_local().numel())
    shard = getattr(parameter, "ds_tensor", None)
    return int(parameter.numel() if shard is None else shard.numel())


def count_state(optimizer: Any) -> int:
    """Elements of the optimizer's state on this process."""
    while hasattr(optimizer, "optimizer"):  # accelerate's and DeepSpeed's wrappers
        optimizer = optimizer.optimizer
    tensors = (value for state in optimizer.state.values() for value in state.values())
    return sum(_count_held(tensor) for tensor in tensors if torch.is_tensor(tensor) and tensor.dim())
