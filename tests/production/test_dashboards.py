"""Every panel of every dashboard shows data while the loop turns, scraped by a real Prometheus."""

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from local.demo.plan import PLANS
from local.demo.run import run_demo
from local.demo.screen import Screen
from local.development.dashboard_pictures import draw_dashboards
from local.layout import Layout
from tests.production.prometheus import Prometheus, has_number, scraping

pytestmark = pytest.mark.ops

DASHBOARDS = Path(__file__).parents[2] / "observability" / "grafana" / "dashboards"
NOT_LOGGED = {"training: KL to the reference, nats"}
"""Shown as NaN in this loop: DPO logs no KL."""
FROM_ZERO = (
    'heliotrope_events_consumed_total{outcome="dead_letter"}',
    "heliotrope_interactions_unrecorded_total",
    "heliotrope_ingest_rate_limited_events_total",
    "heliotrope_evaluations_total",
    "heliotrope_comparison_votes_total",
    "heliotrope_rollout_changes_total",
    'heliotrope_retrain_decisions_total{action="request"}',
    "heliotrope_conflicting_events_total",
    "heliotrope_training_runs_swept_total",
)
"""Counters that alerts and panels want the first increase of."""


def list_panels() -> list[tuple[str, str]]:
    """(board: title, query)."""
    return [
        (f"{path.stem}: {panel['title']}", target["expr"])
        for path in sorted(DASHBOARDS.glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


@pytest.mark.timeout(1500)
def test_every_panel_has_data_while_the_loop_turns(tmp_path: Path, find_port_base: Callable[[], int]):
    tmp_path.chmod(0o755)
    base = find_port_base()
    told = io.StringIO()
    screen = Screen(Console(file=told, width=200))
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with scraping(folder, Layout(tmp_path / "home", base), base + 55) as prometheus:
        since = time.time()
        try:
            asyncio.run(run_demo(PLANS["tiny"], tmp_path / "home", base, seed=3, screen=screen))
        except BaseException:
            sys.stdout.write(told.getvalue())
            raise
        until = time.time()
        pictures = Path(os.environ.get("HELIOTROPE_PICTURES") or tmp_path / "pictures")
        drawn = draw_dashboards(DASHBOARDS, lambda query: prometheus.query(query, since, until), since, pictures)
        assert len(drawn) == len(list(DASHBOARDS.glob("*.json")))
        check_panels(prometheus, since, until)


def check_panels(prometheus: Prometheus, since: float, until: float) -> None:
    panels = list_panels()
    assert len(panels) > 40
    found = {where: prometheus.query(query, since, until) for where, query in panels}
    assert [where for where, series in found.items() if not series] == []
    assert {where for where, series in found.items() if not has_number(series)} <= NOT_LOGGED
    for counter in FROM_ZERO:
        series = prometheus.query(counter, since, until)
        assert series, counter
        assert all(one.values[0] == 0 for one in series), counter
    assert prometheus.query('ALERTS{alertstate="firing",severity="critical"}', since, until) == []
    assert prometheus.query("heliotrope_no_such_metric", since, until) == []
