"""A base's weights in the number format that a run keeps them in, once for all processes of a machine.

Weights in a file of their format are mapped into memory: the processes share its pages, and the system may drop them.
What has to be converted, each process would hold whole for itself.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FOLDER = "shared_weights"
FORMATS = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


@contextmanager
def share_weights(base: Path, dtype: torch.dtype, scratch: Path) -> Iterator[Path]:
    """Yield a folder to load the base from in this format: its own, or a copy in `scratch` that is deleted at the end.

    Raises:
        OSError: `scratch` has no room for it.
    """
    files = sorted(base.glob("*.safetensors"))
    if all(_find_formats(file) <= {FORMATS[dtype]} for file in files):
        yield base
        return
    folder = scratch / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        for file in files:
            _convert(file, dtype, folder / file.name)
        for file in base.glob("*.json"):
            (folder / file.name).write_bytes(file.read_bytes())
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_formats(file: Path) -> set[str]:
    """Find the formats of the file's numbers, those that count something left out; from its header alone."""
    with file.open("rb") as content:
        header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
    formats = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
    return {each for each in formats if "F" in each}


def _convert(file: Path, dtype: torch.dtype, target: Path) -> None:
    with safe_open(file, framework="pt") as content:
        read = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - it is no mapping
        metadata = content.metadata()
    converted = {name: own.to(dtype) if own.is_floating_point() else own for name, own in read.items()}
    save_file(converted, target, metadata)
