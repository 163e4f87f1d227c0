"""The most memory that this process has had."""

import resource
import sys

import torch

PEAK_MEMORY = "peak_memory_bytes"


def measure_peak_memory() -> float:
    """Bytes: of the GPU where there is one, else of the process's resident set."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)
