"""A trained model as a plain checkpoint folder that any server loads."""

import shutil
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from shared.artifacts import calculate_weights_sha256

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
    for path in sorted(parent.iterdir()):
        if path.is_file() and not path.name.endswith(WEIGHTS):
            shutil.copyfile(path, folder / path.name)
    make_readable(folder)
    return calculate_weights_sha256(folder)


def make_readable(folder: Path) -> None:
    """Let every user read the folder: the model server may be another one."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
