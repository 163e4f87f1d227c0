"""What a model's weights are kept in, and which of its layers are compiled."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from peft import get_peft_model  # noqa: E402

from services.trainer.adapters.artifacts.candidate import save_candidate  # noqa: E402
from services.trainer.adapters.methods.models import (  # noqa: E402
    build_lora_config,
    choose_base_dtype,
    compile_layers,
    load_policy,
    merge_adapter,
)
from services.trainer.domain.recipe.parsing import parse_recipe  # noqa: E402
from services.trainer.domain.recipe.schema import Recipe  # noqa: E402
from services.trainer.domain.recipe.sections import Lora  # noqa: E402
from services.trainer.domain.training import TrainingFailed  # noqa: E402
from tests.unit.trainer.methods.runs import SAMPLED, make_job, train  # noqa: E402
from tests.unit.trainer.quiet_reporter import QuietReporter  # noqa: E402
from tests.unit.trainer.tiny_model import save_tiny_model  # noqa: E402


def make_recipe(**settings: object) -> Recipe:
    return parse_recipe({"name": "tiny", "method": "dpo", "max_steps": 1} | settings)


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A chat model whose weights lie in bf16."""
    parent = save_tiny_model(tmp_path / "half")
    load_policy(parent, torch.bfloat16).save_pretrained(parent)
    return parent


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        ({"precision": "bf16"}, torch.bfloat16),
        ({"precision": "bf16", "tuning": "full"}, torch.float32),
        ({"precision": "fp32"}, torch.float32),
        ({"precision": "fp16"}, torch.float32),
    ],
)
def test_weights_are_kept_in_fp32_but_a_frozen_bf16_base_where_it_is_computed_with(
    half: Path, settings: dict[str, object], dtype: Any
):
    assert choose_base_dtype(make_recipe(**settings), half) == dtype


def test_a_base_of_32_bits_is_not_cut_to_16(tmp_path: Path):
    assert choose_base_dtype(make_recipe(precision="bf16"), save_tiny_model(tmp_path)) == torch.float32


@pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "grpo"])
def test_an_adapter_learns_on_a_frozen_base_in_bf16(tmp_path: Path, half: Path, method: str):
    settings: dict[str, Any] = {"precision": "bf16", "batch_size": 4, "max_steps": 4}
    if method == "grpo":
        judge = make_job(tmp_path / "judge", half, method="reward", max_steps=2)
        train(judge)
        settings |= SAMPLED | {"reward_model": str(judge.candidate)}
    job, reporter = make_job(tmp_path, half, method=method, **settings), QuietReporter()
    train(job, reporter)
    first = next(metrics for _, metrics in reporter.metrics if "grad_norm" in metrics)
    assert first["grad_norm"] > 0
    if method in ("dpo", "kto"):
        assert abs(first["rewards/chosen"]) < 1e-2, "policy and reference are the same model before the first step"
    before, after = (load_policy(folder).state_dict() for folder in (half, job.candidate))
    changed = [name for name, weight in before.items() if not torch.equal(weight, after[name])]
    assert changed
    assert all("proj" in name for name in changed)


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


@pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning")  # peft's own call
def test_a_tied_embedding_is_unchanged_by_merging_and_the_merged_model_says_what_the_adapter_said(tmp_path: Path):
    parent = save_tiny_model(tmp_path / "parent")
    model, ids = load_policy(parent), torch.arange(3, 15).reshape(2, 6)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    embedding = model.get_input_embeddings().weight.detach().clone()
    adapted = get_peft_model(model, build_lora_config(Lora(), model)).eval()
    torch.manual_seed(1)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    with torch.no_grad():
        plain, expected = load_policy(parent).eval()(ids).logits, adapted(ids).logits
        assert (plain - expected).abs().max() > 0.01
        save_candidate(merge_adapter(adapted, parent), parent, tmp_path / "candidate")
        merged = load_policy(tmp_path / "candidate").eval()
        assert torch.allclose(merged(ids).logits, expected, atol=1e-5)
    assert torch.equal(merged.get_input_embeddings().weight, embedding)
    assert torch.equal(merged.get_output_embeddings().weight, embedding)


@pytest.mark.parametrize("module", ["embed_tokens", "model.embed_tokens", "lm_head"])
def test_a_matrix_that_is_embedding_and_head_at_once_gets_no_adapter(tmp_path: Path, module: str):
    model = load_policy(save_tiny_model(tmp_path))
    lora = Lora(target_modules=("q_proj", module))
    with pytest.raises(TrainingFailed, match=r"lora\.target_modules: (model\.)?(embed_tokens|lm_head) cannot"):
        build_lora_config(lora, model)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    assert build_lora_config(lora, model).target_modules == {"q_proj", module}
