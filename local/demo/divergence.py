"""How far a model has moved from another, measured by a child process, so that torch's memory goes back."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.demo.apis import DemoFailed
from local.layout import find_checkout

DEADLINE_SECONDS = 600.0


async def measure_divergence(model: str, anchor: str, answers: Sequence[tuple[list[dict[str, str]], str]]) -> float:
    """KL(model || anchor) in nats a token, on the model's own `answers` (messages, text); both are checkpoint folders.

    Raises:
        DemoFailed: the child failed or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answers.json")
        path.write_text(json.dumps(answers))
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local.kl", model, anchor, str(path)),
            cwd=find_checkout(),
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(child.communicate(), DEADLINE_SECONDS)
        except TimeoutError:
            child.kill()
            raise DemoFailed(f"measuring the distance of {model} took over {DEADLINE_SECONDS:.0f} s") from None
    if child.returncode:
        raise DemoFailed(f"measuring the distance of {model} failed: {err.decode(errors='replace')[-500:]}")
    told: dict[str, Any] = json.loads(out)
    return float(told["kl"])
