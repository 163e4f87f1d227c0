"""What the processes of a spread run agree on, and proof that they share the work."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import FullyShardedDataParallelPlugin, PartialState
from accelerate.utils import DistributedType
from datasets import Dataset, load_from_disk
from torch.distributed.tensor import DTensor


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
