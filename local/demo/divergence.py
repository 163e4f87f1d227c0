"""How far a model has moved from another."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local.demo.subprocesses import run_child

DEADLINE_SECONDS = 600.0


async def measure_divergence(model: str, anchor: str, answers: Sequence[tuple[list[dict[str, str]], str]]) -> float:
    """KL(model || anchor) in nats a token, on the model's own `answers` (messages, text); both are checkpoint folders.

    Raises:
        DemoFailed: the child failed or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answers.json")
        path.write_text(json.dumps(answers))
        return float((await run_child("local.kl", model, anchor, str(path), deadline=DEADLINE_SECONDS))["kl"])
