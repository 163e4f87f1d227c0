"""What the planner must know of this machine."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from services.trainer.domain.planning.planner import Devices

UNLIMITED_BYTES = 1 << 60
"""Control groups of the first version say more than this when they have no limit."""
CONTROL_GROUPS = Path("/sys/fs/cgroup")
OF_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
OF_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def find_devices(first: int | None = None) -> Devices:
    """Find the GPUs and what each has free, of so many alone if a number is given; without one this machine's memory.

    `first`: so many processes will train here, and each takes a GPU from the first on: the others are not looked at.
    """
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        free = tuple(torch.cuda.mem_get_info(index)[0] for index in range(min(first or count, count)))
        return Devices("gpu", count, min(free), free=free, computes_in_bf16=_computes_in_bf16())
    return Devices("cpu", 1, find_available_memory(), computes_in_bf16=_computes_in_bf16())


def _computes_in_bf16() -> bool:
    """Tell whether bf16 has units of its own: on GPUs since Ampere, on CPUs with AMX."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    facts = Path("/proc/cpuinfo")
    return facts.exists() and "amx_bf16" in facts.read_text().split()


def find_available_memory(root: Path = Path("/")) -> int:
    """Find how many bytes a process here can still take: of the machine's, and of each control group's around it."""
    rooms = [psutil.virtual_memory().available, *(_find_room(folder) for folder in _list_control_groups(root))]
    return max(min(rooms), 0)


def _list_control_groups(root: Path) -> Iterator[Path]:
    """List the folders of the control groups around this process that can limit its memory, innermost first.

    In a container the innermost may be called by the host's name for it; then only the outermost is there.
    """
    groups = root / "proc/self/cgroup"
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / CONTROL_GROUPS.relative_to("/") / ("memory" if controllers else "")
        inner = mount / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(mount) and folder.is_dir())


def _find_room(folder: Path) -> int:
    """Find what a control group leaves of its memory; files that nobody uses any more can be dropped."""
    for limit, usage, droppable in (OF_VERSION_2, OF_VERSION_1):
        if (folder / limit).exists() and (folder / usage).exists():
            most = (folder / limit).read_text().strip()
            if most == "max" or int(most) > UNLIMITED_BYTES:
                break
            counted = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return int(most) - int((folder / usage).read_text()) + int(counted.get(droppable, 0))
    return UNLIMITED_BYTES


PEAK_MEMORY = "peak_memory_bytes"


def measure_peak_memory() -> float:
    """Measure the most memory that this process has had, in bytes: of the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)
