"""LoRA adapters side by side on one base: rows of a batch may each have another one, or none.

All adapters of a linear layer lie beside each other, and a mask lets each row through its own: two small products for
the whole batch, however many adapters it mixes.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import linear

PREFIX = "base_model.model."
NEUTRAL = {
    "bias": "none",
    "use_dora": False,
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "fan_in_fan_out": False,
    "lora_bias": False,
    "layer_replication": None,
    "trainable_token_indices": None,
}


class Rows:
    """Which adapter each row of the coming forward pass has: `adapters` is (rows, 1, 1); None where no row has any."""

    adapters: Tensor | None = None

    def choose(self, adapters: list[int]) -> None:
        """Choose; 0 for none."""
        self.adapters = torch.tensor(adapters).view(-1, 1, 1) if any(adapters) else None


class AdaptedLinear:
    """What the adapters add to one linear layer's output."""

    def __init__(self, module: nn.Linear, rows: Rows) -> None:
        self._rows = rows
        self._down = module.weight.new_zeros(0, module.in_features)
        self._up = module.weight.new_zeros(module.out_features, 0)
        self._owners = torch.zeros(0, dtype=torch.long)
        self._hook = module.register_forward_hook(self._add)

    def _add(self, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self._rows.adapters is None:
            return output
        inner = linear(inputs[0], self._down) * (self._owners == self._rows.adapters)
        return output + linear(inner, self._up)

    def insert(self, adapter: int, down: Tensor, up: Tensor) -> None:
        """Insert an adapter's matrices, (rank, inputs) and (outputs, rank), the latter scaled."""
        self._down = torch.cat([self._down, down.to(self._down.dtype)])
        self._up = torch.cat([self._up, up.to(self._up.dtype)], dim=1)
        self._owners = torch.cat([self._owners, torch.full((len(down),), adapter)])

    def remove(self, adapter: int) -> bool:
        """Remove an adapter's matrices; tell whether any are left."""
        kept = self._owners != adapter
        self._down, self._up, self._owners = self._down[kept], self._up[:, kept], self._owners[kept]
        if not len(self._owners):
            self._hook.remove()
        return bool(len(self._owners))


class Adapters:
    """The adapters of one base."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self.rows = model, Rows()
        self._layers: dict[str, AdaptedLinear] = {}

    def insert(self, adapter: int, matrices: dict[str, tuple[Tensor, Tensor]]) -> None:
        """Insert what `read_adapter` returned under a number above 0, never used before."""
        for name, (down, up) in matrices.items():
            if name not in self._layers:
                module = self._model.get_submodule(name)
                assert isinstance(module, nn.Linear)
                self._layers[name] = AdaptedLinear(module, self.rows)
            self._layers[name].insert(adapter, down, up)

    def remove(self, adapter: int) -> None:
        self._layers = {name: layer for name, layer in self._layers.items() if layer.remove(adapter)}


def read_adapter(folder: Path, model: nn.Module) -> dict[str, tuple[Tensor, Tensor]] | None:
    """Read an adapter in PEFT's format: by module, its two matrices. None for one that is more than plain LoRA."""
    from peft import LoraConfig, PeftConfig

    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig) or any(
        getattr(config, name, no) not in (no, None) for name, no in NEUTRAL.items()
    ):
        return None
    weights = load_file(folder / "adapter_model.safetensors")
    found: dict[str, dict[str, Tensor]] = {}
    for key, weight in weights.items():
        name, _, part = key.removeprefix(PREFIX).rpartition(".lora_")
        found.setdefault(name, {})[part] = weight
    scale = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
    if not all(_is_plain(name, parts, model) for name, parts in found.items()):
        return None
    return {name: (parts["A.weight"], parts["B.weight"] * scale) for name, parts in found.items()}


def _is_plain(name: str, parts: dict[str, Tensor], model: Any) -> bool:
    """Tell whether it is on a linear layer whose shape it fits."""
    if parts.keys() != {"A.weight", "B.weight"}:
        return False
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return False
    shape = (parts["B.weight"].shape[0], parts["A.weight"].shape[1])
    return isinstance(module, nn.Linear) and module.weight.shape == shape
