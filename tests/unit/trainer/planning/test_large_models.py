"""The planner for large models: shapes, published runs, and what is asked of it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.large_models import DOCS, MEMORY, TIME, compare, list_published, render_page
from services.trainer.adapters.artifacts.model_size import read_shape
from services.trainer.domain.planning.cluster import Layout, Work, calculate_generation_seconds, estimate_needs
from services.trainer.domain.planning.hiring import Task, hire
from services.trainer.domain.planning.machines import MACHINES
from services.trainer.domain.planning.models import SHAPES
from services.trainer.domain.recipe.parsing import parse_recipe
from shared.errors import InvalidRequest

P5 = MACHINES["p5.48xlarge"]


@pytest.mark.parametrize(
    ("name", "weights", "active"),
    [
        ("llama-8b", 8.03, 7.5),
        ("llama-70b", 70.6, 69.5),
        ("llama-405b", 405.9, 403.8),
        ("mixtral-8x7b", 46.7, 12.8),
        ("qwen3-30b-a3b", 30.5, 3.0),
        ("qwen3-235b-a22b", 235.1, 21.6),
        ("gpt-oss-120b", 116.8, 5.1),
        ("deepseek-v3", 671.0, 36.6),
    ],
)
def test_shapes_add_up_to_what_their_makers_say(name: str, weights: float, active: float):
    """Active weights leave out the embedding, which is looked up."""
    assert SHAPES[name].weights / 1e9 == pytest.approx(weights, rel=0.005)
    assert SHAPES[name].active_weights / 1e9 == pytest.approx(active, rel=0.02)


@pytest.mark.parametrize("run", list_published(), ids=lambda run: run.name)
def test_published_runs_are_met(run):
    found = compare(run)
    assert found.memory_error is None or abs(found.memory_error) <= MEMORY
    assert found.time_error is None or abs(found.time_error) <= TIME


def test_the_page_shows_todays_tables():
    page = DOCS.read_text(encoding="utf-8")
    assert render_page(page) == page


def test_states_are_sixteen_bytes_a_weight_divided_among_all():
    needs = estimate_needs(SHAPES["llama-70b"], Layout(gpus=64), Work(length=1024), P5)
    states = needs.weights + needs.gradients + needs.optimizer
    assert states == pytest.approx(16 * SHAPES["llama-70b"].weights / 64, rel=0.02)


def test_an_adapter_leaves_two_bytes_for_each_frozen_weight():
    shape = SHAPES["llama-70b"]
    needs = estimate_needs(shape, Layout(gpus=8), Work(length=1024, trainable=shape.count_lora(16)), P5)
    assert needs.weights == pytest.approx(2 * shape.weights / 8, rel=0.03)
    assert needs.gradients + needs.optimizer < 0.02 * needs.weights


def test_offloading_moves_states_to_the_host_and_nothing_vanishes():
    shape, work = SHAPES["llama-8b"], Work(length=1024)
    here = estimate_needs(shape, Layout(gpus=8), work, P5)
    there = estimate_needs(shape, Layout(gpus=8, offload="all"), work, P5)
    assert there.weights == there.gradients == there.optimizer == 0
    assert there.host >= 8 * (here.weights + here.gradients + here.optimizer)


def test_a_mixture_computes_by_its_active_weights_and_holds_all():
    mixture = SHAPES["qwen3-235b-a22b"]
    dense = replace(SHAPES["llama-70b"])
    layout, work = Layout(gpus=64, recomputation="full"), Work(length=1024)
    assert estimate_needs(mixture, layout, work, P5).weights > estimate_needs(dense, layout, work, P5).weights
    assert mixture.active_weights < dense.active_weights


def test_generating_in_batches_costs_far_less_for_each_answer():
    alone = calculate_generation_seconds(SHAPES["llama-70b"], P5, gpus=8, rows=1, tokens=256)
    together = calculate_generation_seconds(SHAPES["llama-70b"], P5, gpus=8, rows=64, tokens=256)
    assert together / 64 < alone / 20


def test_more_to_hold_takes_more_machines_and_money_never_less():
    found = [
        hire(SHAPES[name], Task(method="dpo", tuning="full", rows=10_000), P5)
        for name in ("llama-8b", "llama-70b", "llama-405b")
    ]
    assert [one.fits for one in found] == [True, True, True]
    assert found[0].count < found[1].count < found[2].count
    assert found[0].cost < found[1].cost < found[2].cost


def test_what_no_number_of_machines_holds_is_said():
    needy = replace(SHAPES["llama-405b"], vocabulary=100_000_000)
    assert not hire(needy, Task(method="dpo", tuning="lora", rows=100), P5).fits


def test_a_mixtures_shape_is_read_from_its_configuration(tmp_path: Path):
    config = {
        "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 128, "hidden_size": 4096,
        "intermediate_size": 12288, "moe_intermediate_size": 1536, "num_experts": 128, "num_experts_per_tok": 8,
        "num_hidden_layers": 94, "vocab_size": 151936, "tie_word_embeddings": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_shape(tmp_path) == SHAPES["qwen3-235b-a22b"]
    with pytest.raises(InvalidRequest, match="says nothing of its shape"):
        read_shape(tmp_path / "nowhere")


def test_what_one_process_cannot_do_is_said_to_be_on_paper():
    spread = hire(SHAPES["llama-8b"], Task(method="ppo", tuning="lora", rows=100), P5)
    assert spread.obstacle is not None
    assert "ppo trains in one process" in spread.obstacle
    assert (
        hire(SHAPES["llama-8b"], Task(method="ppo", tuning="lora", rows=100), MACHINES["p5.4xlarge"]).obstacle is None
    )
    assert hire(SHAPES["llama-70b"], Task(method="dpo", tuning="lora", rows=100), P5).obstacle is None


def test_a_host_that_does_not_hold_the_model_once_a_process_is_an_obstacle():
    found = hire(SHAPES["llama-70b"], Task(method="dpo", tuning="full", rows=100), P5)
    assert found.fits
    assert "does not load" in (found.obstacle or "")


def test_the_recipe_on_the_page_is_one_and_takes_what_the_planner_says():
    [block] = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    recipe = parse_recipe(yaml.safe_load(block))
    found = hire(SHAPES["llama-70b"], Task(method="dpo", tuning="lora", rows=10_000), P5)
    assert (recipe.batch_size, recipe.parallelism.processes) == (found.rows, found.count * found.machine.gpus)
    assert recipe.batch_size * recipe.gradient_accumulation_steps * recipe.parallelism.processes == found.step_rows
    assert (recipe.precision, recipe.activation_checkpointing) == ("bf16", True)
