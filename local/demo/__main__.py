"""`make demo`: the whole loop turns once, on a stack of its own, and says what came of it."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from local.demo.apis import DemoFailed
from local.demo.plan import PLANS
from local.demo.run import run_demo
from local.demo.screen import Screen
from local.errors import StackFailed
from local.layout import DEFAULT_PORT_BASE, find_home


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--model", choices=sorted(PLANS), default="smollm2", help="which model the users teach")
    parser.add_argument("--seed", type=int, default=0, help="draws the users, their questions and their moods")
    arguments = parser.parse_args()
    home = Path(find_home()) / "demo"
    port_base = int(os.environ.get("HELIOTROPE_PORT_BASE", DEFAULT_PORT_BASE))
    screen = Screen()
    try:
        asyncio.run(run_demo(PLANS[arguments.model], home, port_base, arguments.seed, screen))
    except (DemoFailed, StackFailed) as error:
        screen.say(f"The demo failed. {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
