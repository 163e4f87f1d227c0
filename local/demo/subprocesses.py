"""Work with torch in a child process, so that its memory goes back."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from local.demo.apis import DemoFailed
from local.layout import find_checkout

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, of how much."""
LONGEST_LINE = 2**24


def _ignore(summary: str, done: int, total: int) -> None:
    return


async def run_child(module: str, *arguments: str, deadline: float, on_progress: Progress = _ignore) -> dict[str, Any]:
    """Run `python -m module arguments`; return what it prints last, as JSON. Lines before that tell its progress.

    Raises:
        DemoFailed: it failed, or took more than `deadline` seconds.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=find_checkout(),
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    try:
        async with asyncio.timeout(deadline):
            last, said = await asyncio.gather(_follow(child.stdout, on_progress), _read(child.stderr))
            await child.wait()
    except TimeoutError:
        raise DemoFailed(f"{module} took over {deadline:.0f} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode or last is None:
        raise DemoFailed(f"{module} failed: {said[-500:]}")
    return dict(last)


async def _follow(stream: asyncio.StreamReader | None, on_progress: Progress) -> dict[str, Any] | None:
    last: dict[str, Any] | None = None
    assert stream is not None
    async for line in stream:
        if not line.startswith(b"{"):  # a library's own words
            continue
        said: dict[str, Any] = json.loads(line)
        if "doing" in said:
            on_progress(said["doing"], said["done"], said["total"])
        last = said
    return last


async def _read(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    return (await stream.read()).decode(errors="replace")
