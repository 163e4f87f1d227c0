"""What a model's weights are kept in, and which of its layers are compiled."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from services.trainer.adapters.methods.models import (  # noqa: E402
    choose_base_dtype,
    compile_layers,
    load_policy,
)
from services.trainer.domain.recipe.parsing import parse_recipe  # noqa: E402
from services.trainer.domain.recipe.schema import Recipe  # noqa: E402
from tests.unit.trainer.tiny_model import save_tiny_model  # noqa: E402


def make_recipe(**settings: object) -> Recipe:
    return parse_recipe({"name": "tiny", "method": "dpo", "max_steps": 1} | settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU a frozen bf16 base stays what it is")
def test_on_a_cpu_weights_are_kept_in_fp32_whatever_the_arithmetic(tmp_path: Path):
    parent = save_tiny_model(tmp_path)
    assert choose_base_dtype(make_recipe(precision="bf16"), parent) == torch.float32


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own call
@pytest.mark.parametrize(
    ("settings", "compiled"),
    [({}, [False, False]), ({"compile": True}, [False, True]), ({"compile": True, "tuning": "full"}, [True, True])],
)
def test_layers_with_the_same_code_are_compiled_where_the_recipe_says_so(
    tmp_path: Path, settings: dict[str, object], compiled: list[bool]
):
    model = load_policy(save_tiny_model(tmp_path))
    compile_layers(make_recipe(**settings), model)
    assert [layer._compiled_call_impl is not None for layer in model.model.layers] == compiled
