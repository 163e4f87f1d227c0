"""How a run is spread over processes."""

from pathlib import Path
from typing import Any

import pytest

from services.trainer.domain.planning.parallelism import build_deepspeed_config, build_fsdp_config
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.sections import Parallelism
from services.trainer.domain.training import TrainingFailed
from shared.errors import InvalidRequest


def make_recipe(method: str = "dpo", **parallelism: Any) -> dict[str, Any]:
    return {"name": "spread", "method": method, "max_steps": 4, "parallelism": parallelism}


@pytest.mark.parametrize(
    ("recipe", "field"),
    [
        (make_recipe(processes=2), "parallelism.processes"),
        (make_recipe("reward", strategy="zero2", processes=2), "parallelism.strategy"),
        (make_recipe(strategy="ddp", processes=2, offload="optimizer"), "parallelism.offload"),
        (make_recipe(strategy="zero2", processes=2, offload="all"), "parallelism.offload"),
        (make_recipe(strategy="zero3"), "parallelism.processes"),
        (make_recipe(strategy="auto", processes=2), "parallelism.processes"),
        (make_recipe("reward", strategy="fsdp2", processes=2), "parallelism.strategy"),
        (make_recipe(strategy="fsdp2", processes=2, offload="optimizer"), "parallelism.offload"),
        (make_recipe(strategy="zero4"), "parallelism.strategy"),
    ],
)
def test_contradictions_are_named(recipe: dict[str, Any], field: str):
    with pytest.raises(InvalidRequest) as raised:
        parse_recipe(recipe)
    assert [error.field for error in raised.value.errors] == [field]


def test_deepspeed_is_configured_for_zero_only():
    assert build_deepspeed_config(Parallelism(strategy="ddp", processes=2)) is None
    config = build_deepspeed_config(Parallelism(strategy="zero3", processes=2, offload="all"))
    assert config is not None
    zero = config["zero_optimization"]
    assert zero["stage"] == 3
    assert zero["offload_optimizer"] == zero["offload_param"] == {"device": "cpu"}
    assert zero["stage3_gather_16bit_weights_on_model_save"] is True


def test_fsdp_checkpoints_activations_by_itself():
    assert build_fsdp_config(Parallelism(strategy="zero3", processes=2), activation_checkpointing=True) is None
    config = build_fsdp_config(Parallelism(strategy="fsdp2", processes=2, offload="all"), activation_checkpointing=True)
    assert config is not None
    assert (config["version"], config["cpu_offload"], config["activation_checkpointing"]) == (2, True, True)


def test_half_precision_on_a_cpu_is_refused_before_anything_is_loaded(tmp_path: Path):
    from services.trainer.adapters.methods.arguments import list_arguments

    with pytest.raises(TrainingFailed, match="precision: fp16 needs a GPU"):
        list_arguments(parse_recipe(make_recipe() | {"precision": "fp16"}), tmp_path)
