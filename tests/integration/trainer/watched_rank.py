"""`python -m tests.integration.trainer.watched_rank ORDER`: a process of a spread run that notes what it held.

Everything is done by the product's own code; what is noted is read off it. The device that the reference is computed on
is played by copies, for on a CPU the host is the device.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from services.trainer.adapters.methods import dpo, dpo_trainer, kto
from services.trainer.bootstrap.rank import main
from tests.unit.trainer.distributed.played_device import Device, find_files

NOTES = "held"
"""Files of this name, with the process's number, lie beside its order."""


def count_held(model: Any) -> int:
    """Weights in this process's memory: what DeepSpeed has divided, by its part."""
    return sum(getattr(weight, "ds_tensor", weight).numel() for weight in model.parameters())


def watch(order: Path) -> None:
    device, notes = Device(), dict[str, Any]()

    def note_loaded(load: Callable[..., Any]) -> Callable[..., Any]:
        def load_and_note(*args: Any, **kwargs: Any) -> Any:
            model = load(*args, **kwargs)
            there = [weight for weight in model.parameters() if weight.numel()]  # what is divided is somewhere else
            notes.update(loaded=count_held(model), own_memory="" in find_files(there))
            return model

        return load_and_note

    def place_copies(stream: Callable[..., AbstractContextManager[None]]) -> Callable[..., Any]:
        return lambda model, _: stream(model, device.place)

    for module in (dpo, kto):
        module.load_trainable = note_loaded(module.load_trainable)  # type: ignore[attr-defined]
    for module in (dpo_trainer, kto):
        module.stream_layers = place_copies(module.stream_layers)  # type: ignore[attr-defined]
    try:
        main(order)
    finally:
        path = order.parent / f"{NOTES}.{os.environ['RANK']}"
        path.write_text(json.dumps(notes | {"placed": device.most}), encoding="utf-8")


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
