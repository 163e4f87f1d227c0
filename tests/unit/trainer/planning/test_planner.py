"""Which strategy a run needs, and the estimate behind it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.trainer.adapters.artifacts.model_size import read_model_size
from services.trainer.domain.planning.memory import ModelSize, Workload, count_lora, estimate_memory
from services.trainer.domain.planning.planner import (
    GIB,
    Devices,
    Plan,
    apply_plan,
    choose_precision,
    describe_plan,
    plan_run,
)
from services.trainer.domain.recipe.schema import Recipe
from shared.errors import InvalidRequest
from tests import builders
from tests.unit.trainer.tiny_model import save_tiny_model

SEVEN = ModelSize(
    parameters=7_000_000_000, layers=32, hidden=4096, intermediate=11008, key_value=4096, vocabulary=32000
)
"""About a Llama 2 of 7 billion weights."""


def make_recipe(**settings: Any) -> Recipe:
    content: dict[str, Any] = {"method": "sft", "batch_size": 8, "tuning": "full"}
    content |= {"precision": "bf16", "activation_checkpointing": True, "parallelism": {"strategy": "auto"}}
    return builders.make_recipe(**content | settings)


def choose(devices: Devices, **settings: Any) -> Plan:
    return plan_run(make_recipe(**settings), SEVEN, devices)[-1]


def test_zero_takes_the_bytes_of_its_paper():
    """Rajbhandari et al. 2020, figure 1: 7.5B weights, 64 devices, K = 12: 120 GB; 16.6 with both states divided."""
    model = ModelSize(parameters=7_500_000_000, layers=1, hidden=1, intermediate=1, key_value=1, vocabulary=1)
    work = Workload(rows=1, length=1, precision="bf16", trainable=model.parameters, logit_copies=3)
    sizes = {name: estimate_memory(model, work, name, 64).total / 1e9 for name in ("zero2", "zero3")}
    assert sizes == pytest.approx({"zero2": 16.6, "zero3": 1.9}, abs=0.05)
    undivided = estimate_memory(model, work, "zero2", 1)
    assert undivided.total / 1e9 == pytest.approx(120, abs=0.1)


def test_the_reference_needs_embedding_head_and_a_layer_on_each_device_before_the_model_is_divided():
    """Llama 3 70B over 64 devices: its share is small beside what the reference pass places there."""
    big = ModelSize(
        parameters=70_600_000_000, layers=80, hidden=8192, intermediate=28_672, key_value=1024, vocabulary=128_256
    )
    work = Workload(rows=2, length=1024, precision="bf16", trainable=10**8, logit_copies=8)
    layer = 2 * 8192 * 8192 + 2 * 8192 * 1024 + 3 * 8192 * 28_672
    placed = 4 * (2 * 128_256 * 8192 + layer)
    assert estimate_memory(big, work, "fsdp2", 64).weights < placed
    assert estimate_memory(big, replace(work, has_reference=True), "fsdp2", 64).weights == placed
    assert estimate_memory(big, replace(work, has_reference=True), "zero3", 64).weights < placed, "it divides first"


def test_an_adapter_counts_both_of_its_matrices_on_every_linear_layer():
    model = ModelSize(parameters=10, layers=2, hidden=8, intermediate=16, key_value=4, vocabulary=10)
    whole = 2 * (8 + 8) + 2 * (8 + 4) + 3 * (8 + 16)
    assert count_lora(model, r=3, last_layers=None) == 3 * 2 * whole
    assert count_lora(model, r=3, last_layers=1) == 3 * whole


def test_offloading_moves_bytes_to_the_host_and_loses_none():
    work = Workload(rows=1, length=128, precision="bf16", trainable=SEVEN.parameters, logit_copies=3)
    here = estimate_memory(SEVEN, work, "zero3", 4)
    there = estimate_memory(SEVEN, work, "zero3", 4, "all")
    assert there.total + there.host == here.total
    assert there.host == (2 + 2 + 12) * SEVEN.parameters // 4


@pytest.mark.parametrize(
    ("devices", "strategy", "offload"),
    [
        (Devices("gpu", 1, 180 * GIB), "single", "none"),
        (Devices("gpu", 8, 200 * GIB), "ddp", "none"),
        (Devices("gpu", 8, 60 * GIB), "zero2", "none"),
        (Devices("gpu", 8, 24 * GIB), "fsdp2", "none"),
        (Devices("gpu", 2, 24 * GIB), "zero2", "optimizer"),
        (Devices("gpu", 2, 12 * GIB), "zero3", "all"),
    ],
)
def test_the_strategy_that_sends_least_among_those_that_fit_is_chosen(devices: Devices, strategy: str, offload: str):
    plan = choose(devices)
    assert (plan.parallelism.strategy, plan.parallelism.offload, plan.fits) == (strategy, offload, True)
    assert plan.estimate.total <= devices.count_usable()


@pytest.mark.parametrize("count", [1, 3, 4, 8, 16])
def test_a_step_holds_as_many_rows_whatever_is_chosen(count: int):
    recipe = make_recipe(batch_size=4, gradient_accumulation_steps=3)
    planned = apply_plan(recipe, plan_run(recipe, SEVEN, Devices("gpu", count, 64 * GIB))[-1])
    assert planned.parallelism.processes * planned.batch_size * planned.gradient_accumulation_steps == 12


def test_a_smaller_micro_batch_is_tried_before_a_slower_strategy():
    small = ModelSize(parameters=100_000_000, layers=12, hidden=768, intermediate=2048, key_value=768, vocabulary=32000)
    recipe = make_recipe(batch_size=64, activation_checkpointing=False, max_length=1024)
    plan = plan_run(recipe, small, Devices("gpu", 1, 16 * GIB))[-1]
    assert (plan.parallelism.strategy, plan.fits) == ("single", True)
    assert 1 <= plan.batch_size < 64


def test_what_fits_nowhere_is_said_with_its_figures():
    devices = Devices("gpu", 2, GIB)
    plan = choose(devices)
    assert not plan.fits
    assert "does not fit" in "\n".join(describe_plan(plan, devices))


def test_a_cpu_or_a_method_that_is_not_spread_gets_one_process():
    assert choose(Devices("cpu", 1, 8 * GIB)).parallelism.strategy == "single"
    ppo = {"method": "ppo", "reward_model": "r", "precision": "fp32", "activation_checkpointing": False}
    plan = choose(Devices("gpu", 8, 200 * GIB), **ppo)
    assert plan.parallelism.strategy == "single"


def test_a_strategy_that_is_named_is_only_estimated():
    plans = plan_run(make_recipe(parallelism={"strategy": "ddp", "processes": 2}), SEVEN, Devices("gpu", 2, GIB))
    assert [(plan.parallelism.strategy, plan.fits) for plan in plans] == [("ddp", False)]


def test_a_models_size_is_read_without_its_weights(tmp_path: Path):
    size = read_model_size(save_tiny_model(tmp_path))
    assert (size.layers, size.hidden, size.intermediate, size.key_value) == (2, 32, 64, 16)
    layer = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32
    assert size.parameters == size.vocabulary * 32 + 2 * layer + 32
    with pytest.raises(InvalidRequest, match=r"base: .* says nothing of its size"):
        read_model_size(tmp_path / "none")


@pytest.mark.parametrize(
    ("kind", "has_units", "settings", "wanted"),
    [
        ("gpu", True, {}, "bf16"),
        ("cpu", True, {}, "bf16"),
        ("gpu", False, {}, "fp32"),
        ("cpu", False, {}, "fp32"),
        ("gpu", True, {"precision": "fp32"}, "fp32"),
        ("gpu", True, {"method": "ppo", "reward_model": "r"}, "fp32"),
    ],
)
def test_a_recipe_that_names_no_precision_computes_in_bf16_where_there_are_units_for_it(
    kind: Any, has_units: bool, settings: dict[str, Any], wanted: str
):
    recipe = builders.make_recipe(**{"method": "dpo"} | settings)
    assert choose_precision(recipe, Devices(kind, 1, GIB, computes_in_bf16=has_units)) == wanted


def test_a_run_on_the_first_gpu_fits_however_full_the_others_are():
    alone = make_recipe(parallelism={"strategy": "single"})
    crowded = Devices("gpu", 4, GIB, free=(180 * GIB, GIB, GIB, GIB))
    assert plan_run(alone, SEVEN, crowded)[-1].fits
    spread = make_recipe(parallelism={"strategy": "ddp", "processes": 2})
    assert not plan_run(spread, SEVEN, crowded)[-1].fits
