"""What the processes of a spread run agree on, and proof that they share the work."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import FullyShardedDataParallelPlugin, PartialState
from accelerate.utils import DistributedType
from datasets import Dataset, load_from_disk
from torch.distributed.tensor import DTensor


def is_distributed() -> bool:
    """Tell whether the run has several processes."""
    return bool(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)


def is_main_process() -> bool:
    """Tell whether this is the process that saves and reports."""
    return not is_distributed() or dist.get_rank() == 0


def any_process_wants(wanted: bool) -> bool:
    """Ask whether any process wants it. Every process must ask, at the same point."""
    if not is_distributed():
        return wanted
    flag = torch.tensor([int(wanted)], device=PartialState().device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag.item())


def wait_for_everyone() -> None:
    """Wait until every process is here."""
    if is_distributed():
        dist.barrier()


def disable_compiled_collectives() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives on a CPU: that takes a compiler, half a minute, and a
    path without spaces, and leaves a lock for ever when it is killed. gloo does the same work.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def share_dataset(rows: Dataset, folder: Path) -> Dataset:
    """Put the rows into one place: what one process adds (reference log-probabilities) the others read."""
    if not is_distributed():
        return rows
    if is_main_process():
        rows.save_to_disk(folder)
    wait_for_everyone()
    return load_from_disk(folder)


def enable_fsdp2(trainer: Any) -> None:
    """Have accelerate use FSDP2.

    On a CPU accelerate 1.x ignores the FSDP that it was told of and trains under DDP; its own FSDP2 code works there
    once its state says so. On a GPU, where it took FSDP up when the trainer was made, nothing is changed.
    """
    if trainer.is_fsdp_enabled:
        return
    state = trainer.accelerator.state
    state.distributed_type = DistributedType.FSDP
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    trainer.is_fsdp_enabled = True


def gather_full_state_dict(model: Any) -> dict[str, Any]:
    """Gather the weights of a model that FSDP2 divided, one at a time, into the main process's host memory."""
    whole: dict[str, Any] = {}
    for name, weight in model.state_dict().items():
        weight = weight.full_tensor() if isinstance(weight, DTensor) else weight
        if is_main_process():
            whole[name] = weight.cpu()
    return whole
