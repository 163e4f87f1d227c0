"""What a run can take of the machine that it is on."""

from pathlib import Path

import psutil
import pytest

torch = pytest.importorskip("torch")

from services.trainer.adapters.distributed.hardware import find_available_memory, find_devices  # noqa: E402
from services.trainer.bootstrap.methods import settle_precision  # noqa: E402
from services.trainer.domain.planning.planner import GIB, Devices  # noqa: E402
from services.trainer.domain.training import Job  # noqa: E402
from tests.builders import make_recipe  # noqa: E402
from tests.unit.trainer.quiet_reporter import QuietReporter  # noqa: E402

MIB = 1 << 20


def limit_memory(folder: Path, limit: str, used: int, files: int, version: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, content in zip(names, (limit, str(used)), strict=True):
        (folder / name).write_text(f"{content}\n")
    word = "inactive_file" if version == 2 else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 1\n{word} {files}\n")


def say_group(root: Path, line: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"9:cpu:/elsewhere\n{line}\n")


def test_without_a_limit_it_is_what_the_machine_has_available_not_what_lies_idle(tmp_path: Path):
    found = find_available_memory(tmp_path)
    assert found == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert found <= psutil.virtual_memory().total


@pytest.mark.parametrize(("version", "line", "mount"), [(2, "0::", ""), (1, "4:memory,hugetlb:", "memory")])
def test_the_tightest_control_group_counts_and_files_in_it_can_be_dropped(
    tmp_path: Path, version: int, line: str, mount: str
):
    say_group(tmp_path, f"{line}/pods/trainer")
    outer, inner = (tmp_path / "sys/fs/cgroup" / mount / name for name in ("pods", "pods/trainer"))
    limit_memory(inner, str(64 * MIB), used=40 * MIB, files=16 * MIB, version=version)
    limit_memory(outer, str(80 * MIB), used=60 * MIB, files=0, version=version)
    assert find_available_memory(tmp_path) == 20 * MIB
    limit_memory(outer, "max" if version == 2 else str(2**63 - 4096), used=60 * MIB, files=0, version=version)
    assert find_available_memory(tmp_path) == 40 * MIB
    limit_memory(inner, str(64 * MIB), used=70 * MIB, files=0, version=version)
    assert find_available_memory(tmp_path) == 0


def test_in_a_container_that_does_not_see_its_own_group_the_outermost_limits_it(tmp_path: Path):
    say_group(tmp_path, "0::/pods/a-name-of-the-host")
    limit_memory(tmp_path / "sys/fs/cgroup", str(64 * MIB), used=40 * MIB, files=0, version=2)
    assert find_available_memory(tmp_path) == 24 * MIB


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Somebody else fills the third; returns the GPUs that are looked at."""
    looked: list[int] = []

    def measure(index: int) -> tuple[int, int]:
        looked.append(index)
        return [80, 70, 3, 80][index] * GIB, 80 * GIB

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "mem_get_info", measure)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: not including_emulation)
    return looked


def test_a_run_on_one_gpu_is_not_held_against_what_others_hold_of_the_rest(four_gpus: list[int]):
    alone = find_devices(1)
    assert (alone.count, alone.memory_bytes, alone.computes_in_bf16) == (4, 80 * GIB, True)
    assert four_gpus == [0]


def test_a_run_notes_the_precision_that_the_machine_chose_for_it(tmp_path: Path, four_gpus: list[int]):
    job, reporter = Job(make_recipe(method="dpo"), tmp_path, tmp_path, tmp_path, None, tmp_path), QuietReporter()
    assert settle_precision(job, reporter).recipe.precision == "bf16"
    assert reporter.notes == ["precision: bf16, on a gpu with units for bf16"]


def test_processes_take_the_gpus_from_the_first_on(four_gpus: list[int]):
    every = find_devices()
    assert [every.count_usable(processes) // GIB for processes in (1, 2, 3, 4)] == [68, 59, 2, 2]
    assert Devices("gpu", 4, 80 * GIB).count_usable(4) == Devices("gpu", 4, 80 * GIB).count_usable(1)
