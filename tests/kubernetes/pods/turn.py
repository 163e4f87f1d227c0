"""Turn the loop once through the services' addresses, as the demo does; run in a pod.

KEYS are API keys by credential as JSON. Prints as JSON the champions around it, and what became of the rollout.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from local.demo.apis import Apis
from local.demo.plan import PLANS
from local.demo.screen import Screen
from local.demo.stages import Stages
from local.layout import Layout

PLAN = replace(PLANS["tiny"], concurrency=4, seconds_for=dict.fromkeys(PLANS["tiny"].seconds_for, 1500.0))
SEED = 3


@dataclass(frozen=True)
class ClusterLayout(Layout):
    """The release's services, by name."""

    release: str = ""

    def url(self, name: str) -> str:
        return f"http://{self.release}-{name}:{self.port(name)}"


async def turn() -> dict[str, Any]:
    layout = ClusterLayout(Path("/nowhere"), release=os.environ["RELEASE"])
    apis = Apis(layout, json.loads(os.environ["KEYS"]), patience_seconds=300)
    try:
        stages = Stages(PLAN, apis, Screen(Console(file=sys.stderr, width=160)), SEED, Path("/nowhere"))
        before = await stages.find_champion()
        request = await stages.listen()
        run = await stages.train(request["request_id"])
        await stages.evaluate(request["request_id"])
        await stages.approve(request["request_id"])
        rollout = await stages.follow_canary(request["request_id"])
        after = await stages.find_champion()
        return {"before": before, "after": after, "rollout": rollout["state"], "run": run["run_id"]}
    finally:
        await apis.close()


sys.stdout.write(f"\n{json.dumps(asyncio.run(turn()))}\n")
