"""What can be played on a stack: the turn of the loop, and what a sceptic would try on it."""

from local.demo.scenarios import falling, harm, placebo, rounds, turn
from local.demo.scenarios.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {each.SCENARIO.name: each.SCENARIO for each in (turn, placebo, harm, falling, rounds)}
