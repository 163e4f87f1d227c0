"""The size of a model, read from its checkpoint without its weights."""

import json
from math import prod
from pathlib import Path
from typing import Any

from services.trainer.domain.planning.memory import ModelSize
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


def _count_weights(path: Path) -> int:
    """Count the weights in a safetensors file: its header, behind 8 bytes with its length, lists the shapes."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(HEADER_BYTES), "little")))
    return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def read_context(folder: Path) -> int:
    """Read how many tokens the model can take, from its configuration."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or DEFAULT_CONTEXT)
