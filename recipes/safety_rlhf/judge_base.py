"""The base of the reward model: the lower layers of the chat model, which score answers at a fraction of its cost."""

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

LAYERS = 8


def write_judge_base(base: Path, folder: Path, layers: int = LAYERS) -> Path:
    """Return a checkpoint folder of only the lowest layers, with the same tokenizer; made once."""
    if folder.exists():
        return folder
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.model.layers = model.model.layers[:layers]
    model.config.num_hidden_layers = len(model.model.layers)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:layers]
    model.save_pretrained(draft)
    AutoTokenizer.from_pretrained(base).save_pretrained(draft)
    draft.rename(folder)
    return folder
