"""A reference pass with one layer on the device at a time."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from services.trainer.adapters.distributed.streaming import stream_layers  # noqa: E402
from services.trainer.adapters.methods.models import build_lora_config, load_policy  # noqa: E402
from services.trainer.domain.recipe.sections import Lora  # noqa: E402
from tests.unit.trainer.distributed.played_device import Device  # noqa: E402
from tests.unit.trainer.tiny_model import save_tiny_model  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning")


@pytest.fixture(params=["whole", "adapter"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    loaded = load_policy(save_tiny_model(tmp_path)).eval()
    if request.param == "whole":
        return loaded
    from peft import get_peft_model

    return get_peft_model(loaded, build_lora_config(Lora(r=4), loaded)).eval()


def count(tensors: Any) -> int:
    return sum(each.numel() for each in tensors)


def find_layers(model: Any) -> list[Any]:
    return [module for module in model.modules() if type(module).__name__ in set(model._no_split_modules)]


def test_one_layer_is_there_at_a_time_and_the_answer_is_the_same(model: Any):
    device, ids = Device(), torch.arange(12)[None]
    pointers = {name: own.data_ptr() for name, own in model.named_parameters()}
    layers = find_layers(model)
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        with stream_layers(model, device.place):
            found = [model(input_ids=ids).logits for _ in range(2)]
    assert all(torch.equal(logits, expected) for logits in found)
    largest = max(count([*layer.parameters(), *layer.buffers()]) for layer in layers)
    whole = count([*model.parameters(), *model.buffers()])
    outside = whole - sum(count([*layer.parameters(), *layer.buffers()]) for layer in layers)
    assert len(layers) >= 2
    assert device.most == outside + largest
    assert device.held == 0
    assert {name: own.data_ptr() for name, own in model.named_parameters()} == pointers


def test_a_pass_that_fails_leaves_the_model_as_it_was(model: Any):
    device, layer = Device(), find_layers(model)[-1]
    pointers = [own.data_ptr() for own in model.parameters()]

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    hook = layer.self_attn.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError), stream_layers(model, device.place):
        model(input_ids=torch.arange(12)[None])
    hook.remove()
    assert [own.data_ptr() for own in model.parameters()] == pointers
    assert not any(each._forward_pre_hooks or each._forward_hooks for each in find_layers(model))
    assert model(input_ids=torch.arange(12)[None]).logits.isfinite().all()
