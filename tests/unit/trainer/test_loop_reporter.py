"""What a run inside the loop shows of itself while it trains."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.trainer import metrics
from services.trainer.handlers.claim import Claim
from services.trainer.handlers.reporter import LoopReporter
from services.trainer.handlers.sweeper import export_runs
from shared.registry.memory import MemoryRegistry
from shared.tables.trainer import Run


def make_watch(folder: Path, clock: Callable[[], float], notes: Sequence[str] = ()) -> LoopReporter:
    registry = MemoryRegistry(folder)
    run_id = registry.start_run("train", {})
    claim = cast(Claim, SimpleNamespace(report=lambda **_: None, check=lambda: None))
    return LoopReporter(claim, registry, run_id, threading.Event(), clock, notes=notes)


def show(progress: dict[str, Any]) -> None:
    export_runs([Run(state="running", progress=progress)], {}, {}, {})


def test_tokens_a_second_count_from_the_attempts_first_logged_step(tmp_path: Path):
    times = iter([100.0, 102.0, 104.0])
    reporter = make_watch(tmp_path, lambda: next(times))
    reporter.on_metrics(1, {"loss": 1.0, "num_tokens": 500.0})
    assert reporter.progress["tokens_per_second"] is None
    reporter.on_metrics(2, {"loss": 1.0, "num_tokens": 900.0})
    reporter.on_metrics(3, {"loss": 1.0, "num_tokens": 1700.0})
    assert reporter.progress["tokens_per_second"] == pytest.approx(300.0)


def test_notes_follow_those_of_earlier_attempts_and_the_newest_stay(tmp_path: Path):
    reporter = make_watch(tmp_path, lambda: 0.0, notes=["roll back at step 7: loss is nan"])
    reporter.on_note("adjust at step 9: " + "KL " * 200)
    assert reporter.progress["notes"][0] == "roll back at step 7: loss is nan"
    assert len(reporter.progress["notes"][1]) == 300
    for step in range(10, 30):
        reporter.on_note(f"adjust at step {step}: KL")
    assert reporter.progress["notes"] == [f"adjust at step {step}: KL" for step in range(10, 30)]


def test_refused_rows_are_shown_by_reason(tmp_path: Path):
    reporter = make_watch(tmp_path, lambda: 0.0)
    reporter.on_metrics(0, {"refused_share": 0.15, "refused_rows/no_room": 2.0, "refused_rows/no_answer": 1.0})
    assert reporter.progress == {"refused_share": 0.15, "refused_rows": {"no_room": 2, "no_answer": 1}}


def test_reward_kl_and_memory_reach_the_gauges(tmp_path: Path):
    reporter = make_watch(tmp_path, lambda: 0.0)
    reporter.on_metrics(1, {"loss": 1.0, "reward": 0.7, "kl": 0.02, "peak_memory_bytes": 3 * 2.0**30})
    assert reporter.progress["peak_memory_gib"] == 3.0
    show(reporter.progress)
    assert metrics.REWARD._value.get() == 0.7
    assert metrics.KL._value.get() == 0.02
    assert metrics.PEAK_MEMORY._value.get() == 3 * 2.0**30
    show({})
    assert metrics.PEAK_MEMORY._value.get() == 0.0
    assert str(metrics.REWARD._value.get()) == "nan"
