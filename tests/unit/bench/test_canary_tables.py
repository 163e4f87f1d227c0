"""What docs/rollouts.md says of the canary benchmark is what was kept of it."""

import json

from bench.canary.tables import KEPT, PAGE, fill
from bench.canary.worlds import WORLDS

CONTENT = json.loads(KEPT.read_text())


def test_every_figure_of_the_tables_is_the_kept_runs():
    page = PAGE.read_text()
    assert fill(page, CONTENT) == page
    assert not [world.name for world in WORLDS if f"| {world.name} |" not in page]


def test_a_figure_that_somebody_typed_is_seen():
    page = PAGE.read_text()
    row = next(line for line in page.splitlines() if line.startswith("| harm, -.20 |"))
    assert fill(page.replace(row, row.replace("|", "| 7", 2)), CONTENT) == page
