"""The model that a run trains: loaded from the parent's folder, with an adapter or whole, and merged in the end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.integrations import deepspeed

from services.trainer.adapters.artifacts.candidate import save_candidate
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.recipe.sections import Lora
from services.trainer.domain.training import TrainingFailed
from shared.artifacts.models import ADAPTER, find_base, is_adapter

SPARE_PAD_TOKENS = ("<|endoftext|>", "<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<unk>")
"""Tokens that no answer ends with; the fifth is Llama 3's, whose own padding token is the end of an answer."""


def set_threads(count: int) -> None:
    """Set threads for tensor arithmetic; 0 leaves it to OMP_NUM_THREADS, else to torch."""
    if count:
        torch.set_num_threads(count)


def load_policy(parent: Path, dtype: torch.dtype = torch.float32, weights: Path | None = None) -> Any:
    """Load the chat model, with its adapter, if it is one, merged. `weights`: its base's in `dtype`, if apart."""
    if not is_adapter(parent):
        return _load_base(parent, dtype, weights)
    with _undivided():
        model = _load_base(parent, dtype, weights)
    return PeftModel.from_pretrained(model, parent / ADAPTER).merge_and_unload().requires_grad_(True)


def load_trainable(
    recipe: Recipe, parent: Path, dtype: torch.dtype = torch.float32, weights: Path | None = None
) -> Any:
    """Load the chat model to train: a LoRA run goes on with the parent's adapter, of which TRL keeps a frozen copy as
    the reference; whole weights are trained from the parent's, merged. `weights`: as of `load_policy`."""
    if recipe.tuning != "lora" or not is_adapter(parent):
        return load_policy(parent, dtype, weights)
    model = _load_base(parent, dtype, weights)
    policy = PeftModel.from_pretrained(model, parent / ADAPTER, is_trainable=True)
    policy.peft_config["default"].base_model_name_or_path = str(find_base(parent))  # where checkpoints look for it
    return policy


@contextmanager
def _undivided() -> Iterator[None]:
    """Have ZeRO-3 divide no model as it is loaded: nothing could be merged into it."""
    held = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed._hf_deepspeed_config_weak_ref = None
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = held


def _load_base(parent: Path, dtype: torch.dtype, weights: Path | None) -> Any:
    """Load the base's weights, from `weights` if they lie there."""
    base = find_base(parent)
    model = AutoModelForCausalLM.from_pretrained(weights or base, dtype=dtype)
    model.name_or_path = model.config._name_or_path = str(base)  # what adapters and checkpoints say that they go on
    return model


def choose_base_dtype(recipe: Recipe, parent: Path) -> torch.dtype:
    """Choose what the weights are kept in: fp32, but a base that an adapter leaves alone stays in its own 16 bits where
    the arithmetic is in them anyway."""
    frozen = recipe.tuning == "lora" and recipe.precision == "bf16"
    own = AutoConfig.from_pretrained(parent).dtype if frozen else None
    return torch.bfloat16 if own == torch.bfloat16 else torch.float32


def compile_layers(recipe: Recipe, model: Any) -> None:
    """Compile where the recipe says so: layer by layer, since all have the same code, which is then compiled once.

    Under an adapter the first layer's input needs no gradient; its code would be compiled for it alone, so it is left
    out.
    """
    if recipe.compile:
        inner = model.get_base_model() if isinstance(model, PeftModel) else model
        for layer in inner.base_model.layers[1 if recipe.tuning == "lora" else 0 :]:
            layer.compile(dynamic=True)


def load_tokenizer(parent: Path, *, padding_side: str = "right") -> Any:
    """Load the parent's tokenizer, with a padding token that is not the end of an answer if there is one to spare."""
    tokenizer = AutoTokenizer.from_pretrained(parent, padding_side=padding_side)
    if tokenizer.pad_token in (None, tokenizer.eos_token):
        known = tokenizer.get_vocab()
        spare = [token for token in SPARE_PAD_TOKENS if token in known and token != tokenizer.eos_token]
        tokenizer.pad_token = spare[0] if spare else tokenizer.eos_token
    return tokenizer


def check_padding(tokenizer: Any) -> None:
    """Check that padding can be told from the end of an answer: a reward model scores at the last token before it.

    Raises: TrainingFailed.
    """
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise TrainingFailed(
            f"the padding token {tokenizer.pad_token!r} is also the end of an answer, so scores would be read one "
            f"token early; add one of {', '.join(SPARE_PAD_TOKENS)} to the base's tokenizer"
        )


def make_adapter_config(recipe: Recipe, model: Any, task: str = "CAUSAL_LM") -> LoraConfig | None:
    """Make the recipe's adapter; None when all weights are trained, or the parent's adapter is."""
    if recipe.tuning != "lora" or isinstance(model, PeftModel):
        return None
    return build_lora_config(recipe.lora, model, task)


def merge_adapter(model: Any, parent: Path) -> Any:
    """Merge the adapter into the model's weights, in the number format of the parent's."""
    if isinstance(model, PeftModel):
        model.set_adapter("default")  # not the frozen copy that was the reference
    merged = model.merge_and_unload() if isinstance(model, PeftModel) else model
    return merged.to(AutoConfig.from_pretrained(parent).dtype or torch.float32)


def merge_model(folder: Path, target: Path) -> str:
    """Write an adapter and its base as whole weights into a folder that is not there yet; returns the weights' hash.

    Raises:
        TrainingFailed: it is whole already.
    """
    if not is_adapter(folder):
        raise TrainingFailed(f"{folder} holds whole weights: there is nothing to merge")
    dtype = AutoConfig.from_pretrained(find_base(folder)).dtype or torch.float32
    model = load_policy(folder, torch.float32).to(dtype)
    draft = target.with_name(f".{target.name}.draft")
    weights_sha256 = save_candidate(model, folder, draft)
    draft.rename(target)
    return weights_sha256


def build_lora_config(lora: Lora, model: Any, task: str = "CAUSAL_LM") -> LoraConfig:
    """Build a LoRA adapter on the named modules, or on every linear one but the head; of all or the last layers.

    Raises: TrainingFailed: a named module shares its weights with another.
    """
    names = lora.target_modules
    head = getattr(model, "score", None) or model.get_output_embeddings()
    if names == "all-linear":
        linear = (name for name, module in model.named_modules() if _is_linear(module) and module is not head)
        names = tuple(sorted({name.rpartition(".")[2] for name in linear}))
    check_untied(model, names)
    depth = model.config.num_hidden_layers
    layers = list(range(max(depth - lora.last_layers, 0), depth)) if lora.last_layers else None
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(names),
        layers_to_transform=layers,
        task_type=task,
    )


def check_untied(model: Any, names: Sequence[str]) -> None:
    """Check that no adapted module shares its weights with another: merging its adapter would change both.

    Raises: TrainingFailed.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or embedding.weight is not head.weight:
        return
    shared = [name for name, module in model.named_modules() if module is embedding or module is head]
    if adapted := [name for name in shared if any(name == each or name.endswith(f".{each}") for each in names)]:
        raise TrainingFailed(
            f"lora.target_modules: {', '.join(adapted)} cannot have an adapter, for this model's embedding and its "
            "head are one matrix (tie_word_embeddings), and merging would change both"
        )


def _is_linear(module: object) -> bool:
    return isinstance(module, torch.nn.Linear)
