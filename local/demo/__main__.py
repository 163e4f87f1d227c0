"""`make demo`: a scenario is played on a stack of its own, the loop turning once unless another is named."""

import argparse
import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from local.demo.apis import DemoFailed
from local.demo.open_report import has_screen, open_page
from local.demo.plan import PLANS
from local.demo.run import run_demo
from local.demo.scenarios import SCENARIOS
from local.demo.screen import Screen
from local.errors import StackFailed
from local.layout import DEFAULT_PORT_BASE, find_home


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--scenario", choices=list(SCENARIOS), default="turn", help=_list_scenarios())
    parser.add_argument("--rounds", type=int, default=5, help="turns of the loop in the scenario rounds")
    parser.add_argument("--model", choices=sorted(PLANS), help="which model the users teach; each scenario has its own")
    parser.add_argument("--seed", type=int, default=0, help="draws the users, their questions and their moods")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    plan = replace(PLANS[arguments.model or SCENARIOS[arguments.scenario].model], rounds=arguments.rounds)
    home = Path(find_home()) / "demo"
    port_base = int(os.environ.get("HELIOTROPE_PORT_BASE", DEFAULT_PORT_BASE))
    screen = Screen()
    try:
        asyncio.run(run_demo(plan, home, port_base, arguments.seed, screen, arguments.scenario))
    except (DemoFailed, StackFailed) as error:
        screen.say(f"The demo failed. {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    if has_screen(os.environ, is_terminal=screen.console.is_terminal):
        open_page(home / "report.html")


def _list_scenarios() -> str:
    return "; ".join(f"{scenario.name}: {scenario.title}" for scenario in SCENARIOS.values())


if __name__ == "__main__":
    main()
