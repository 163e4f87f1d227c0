"""Prometheus beside the stack, where that program is: it scrapes as observability/prometheus/prometheus.yml says."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from local.layout import OFFSETS, Layout, find_checkout
from local.supervision.processes import Process
from local.supervision.readiness import answers_http

PROGRAM = "HELIOTROPE_PROMETHEUS"
"""Names the program; `make up METRICS=1` finds one."""

PORT_NUMBER = 54
SCRAPE_SECONDS = 5
RULES = find_checkout() / "observability" / "prometheus"


def describe_prometheus(layout: Layout, program: str) -> Process:
    """Write the configuration into the stack's home; return the process."""
    folder = layout.home / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    port = layout.port_base + PORT_NUMBER
    command = (
        program,
        f"--config.file={write_config(folder, layout, SCRAPE_SECONDS)}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    ready = answers_http(f"http://127.0.0.1:{port}/-/ready")
    return Process("prometheus", command, port, ready, ready_seconds=60)


def write_config(folder: Path, layout: Layout, seconds: float, elsewhere: Mapping[str, str] | None = None) -> Path:
    """Write the shipped configuration with this stack's ports in place of hosts, scraped every so many seconds.

    Jobs that the stack has no process for are left out, but those that `elsewhere` gives a host:port.
    """
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), f"{seconds}s")
    config["rule_files"] = [str(RULES / name) for name in config["rule_files"]]
    given, jobs = elsewhere or {}, []
    for job in config["scrape_configs"]:
        named = [target for group in job["static_configs"] for target in group["targets"]]
        targets = [given[job["job_name"]]] if job["job_name"] in given else _find_addresses(named, layout)
        if targets:
            jobs.append({"job_name": job["job_name"], "static_configs": [{"targets": targets}]})
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config | {"scrape_configs": jobs}))
    return path


def _find_addresses(targets: list[str], layout: Layout) -> list[str]:
    """Return where this stack has the processes that compose knows as name:port."""
    names = [target.partition(":")[0] for target in targets]
    return [f"127.0.0.1:{layout.port(name)}" for name in names if name in OFFSETS]
