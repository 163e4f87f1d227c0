"""Out of memory and out of disk, told apart from other failures of the libraries below."""

import errno
import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from services.trainer.domain.training import OutOfMemory, TrainingFailed

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = ("No space left on device", "Disk quota exceeded", "os error 28")
CUT_WORDS = ("failed writing file", "unexpected pos")
"""torch's words when a write came to nothing."""
NOTHING_LEFT_BYTES = 1 << 20
MEMORY_WORDS = ("can't allocate memory", "Cannot allocate memory", "not enough memory", "out of memory")


@contextmanager
def translate_resource_errors(folder: Path) -> Iterator[None]:
    """Translate the libraries' errors of memory and disk. `folder` is where files are written.

    Raises:
        OutOfMemory: of the device, or of the host.
        TrainingFailed: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
        if is_disk_full(error, folder):
            raise TrainingFailed(f"no space is left under {str(folder)!r}", "disk") from error
        raise


def is_out_of_memory(error: Exception) -> bool:
    """Tell CUDA's own error, and what torch says in words on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in MEMORY_WORDS)


def is_disk_full(error: Exception, folder: Path) -> bool:
    """Tell whether the error is that of a full disk; torch says so in words, or only that a write came to nothing."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    words = str(error)
    if any(full in words for full in FULL_WORDS):
        return True
    is_cut = any(cut in words for cut in CUT_WORDS)
    return is_cut and shutil.disk_usage(folder).free < NOTHING_LEFT_BYTES


def free_memory() -> None:
    """Free what is no longer referenced, on the GPU too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
