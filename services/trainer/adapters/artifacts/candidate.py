"""A trained model as a plain checkpoint folder that any server loads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from shared.artifacts import calculate_weights_sha256
from shared.artifacts.manifest import NAME
from shared.artifacts.models import ADAPTER, BASE_FILE, BaseReference, read_base, write_base

WEIGHTS = (".safetensors", ".bin", ".index.json", ".gguf")


def save_candidate(model: Any, parent: Path, folder: Path) -> str:
    """Save the merged model's weights; everything else (config, tokenizer, chat template, sampling defaults) is the
    parent's, byte for byte, since training changes config values that serving needs. Returns the weights' hash.

    Files are readable by every user, for the model server may be another one.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.generation_config = GenerationConfig()  # the parent's, copied below, may be one that transformers refuses
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    _copy_others(parent, folder)
    make_readable(folder)
    return calculate_weights_sha256(folder)


def save_adapter(model: Any, parent: Path, base: BaseReference, folder: Path) -> str:
    """Save the adapter of a PEFT model alone, beside the parent's other files, and which base it goes on.

    Returns the hash of its weights. A parent that is itself an adapter shares its base with it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base = read_base(parent) or _identify(base, parent)
    model.save_pretrained(folder / ADAPTER, selected_adapters=["default"], save_embedding_layers=False)
    (folder / ADAPTER / "README.md").unlink(missing_ok=True)  # PEFT's own; the candidate has a card
    _name_base(folder / ADAPTER / "adapter_config.json", base.uri)
    _copy_others(parent, folder)
    write_base(folder, base)
    make_readable(folder)
    return calculate_weights_sha256(folder)


def _identify(base: BaseReference, folder: Path) -> BaseReference:
    """Say which weights a base has whose manifest nobody wrote."""
    known = base.content_sha256 is not None
    return base if known else replace(base, weights_sha256=calculate_weights_sha256(folder))


def _name_base(config: Path, uri: str) -> None:
    """Name the base as others know it, in place of this machine's folder."""
    content = json.loads(config.read_text("utf-8")) | {"base_model_name_or_path": uri}
    config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")


def _copy_others(parent: Path, folder: Path) -> None:
    """Copy what is beside the weights, but what was written about the parent."""
    for path in sorted(parent.iterdir()):
        if path.is_file() and not path.name.endswith(WEIGHTS) and path.name not in (NAME, BASE_FILE):
            shutil.copyfile(path, folder / path.name)


def make_readable(folder: Path) -> None:
    """Let every user read the folder: the model server may be another one."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
