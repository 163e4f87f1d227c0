"""What the planner must know of the model on disk and of this machine."""

import os
import resource
import sys

import torch

from services.trainer.domain.planning.planner import Devices


def find_devices() -> Devices:
    """Find the GPUs, with what the fullest has free; without one this machine's memory."""
    import torch

    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return Devices("gpu", count, min(torch.cuda.mem_get_info(index)[0] for index in range(count)))
    return Devices("cpu", 1, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


PEAK_MEMORY = "peak_memory_bytes"


def measure_peak_memory() -> float:
    """Measure the most memory that this process has had, in bytes: of the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)
