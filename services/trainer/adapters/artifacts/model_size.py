"""The size of a model, read from its checkpoint without its weights."""

import json
from math import prod
from pathlib import Path
from typing import Any

from services.trainer.domain.planning.memory import ModelSize
from services.trainer.domain.planning.models import Shape
from shared.artifacts.models import find_base
from shared.errors import InvalidRequest

HEADER_BYTES = 8
DEFAULT_CONTEXT = 2048
"""Of a model whose configuration names none."""


def read_model_size(folder: Path) -> ModelSize:
    """Read the size from the checkpoint's configuration and the headers of its weight files; no weight is read.

    Raises:
        InvalidRequest: no such checkpoint, or one that says none of these.
    """
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        head = config.get("head_dim") or config["hidden_size"] // heads
        return ModelSize(
            parameters=sum(_count_weights(path) for path in find_base(folder).glob("*.safetensors")),
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            key_value=config.get("num_key_value_heads", heads) * head,
            vocabulary=config["vocab_size"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise InvalidRequest(f"base: {str(folder)!r} says nothing of its size: {error!r}") from error


def read_shape(folder: Path) -> Shape:
    """Read a model's shape, mixtures of experts included, from its configuration alone.

    Raises:
        InvalidRequest: no such checkpoint, or one that does not say.
    """
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        head = config.get("head_dim") or config["hidden_size"] // heads
        experts = _find(config, "num_local_experts", "num_experts", "n_routed_experts") or 0
        return Shape(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config.get("intermediate_size") or 0,
            query=heads * head,
            key_value=config.get("num_key_value_heads", heads) * head,
            vocabulary=config["vocab_size"],
            experts=experts,
            experts_per_token=(config.get("num_experts_per_tok") or 0) if experts else 0,
            shared_experts=config.get("n_shared_experts") or 0,
            expert_intermediate=(config.get("moe_intermediate_size") or config["intermediate_size"]) if experts else 0,
            dense_layers=config.get("first_k_dense_replace") or 0,
            tied=bool(config.get("tie_word_embeddings")),
        )
    except (OSError, ValueError, KeyError) as error:
        raise InvalidRequest(f"model: {str(folder)!r} says nothing of its shape: {error!r}") from error


def _find(config: dict[str, Any], *names: str) -> int | None:
    return next((int(config[name]) for name in names if config.get(name)), None)


def _count_weights(path: Path) -> int:
    """Count the weights in a safetensors file: its header, behind 8 bytes with its length, lists the shapes."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(HEADER_BYTES), "little")))
    return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def read_context(folder: Path) -> int:
    """Read how many tokens the model can take, from its configuration."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or DEFAULT_CONTEXT)
