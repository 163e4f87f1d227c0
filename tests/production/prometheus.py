"""A real Prometheus that scrapes an embedded stack in the way observability/prometheus/prometheus.yml says."""

import contextlib
import http.server
import math
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from local.layout import Layout
from local.supervision.readiness import is_port_free

ROOT = Path(__file__).parents[2]
RULES = ROOT / "observability" / "prometheus"
SAMPLES = Path(__file__).parent / "samples"
RECORDED = {"vllm": "vllm.prom", "dcgm": "dcgm.prom"}
"""Jobs whose exporters cannot run here: what they are answered with."""
INTERVAL_SECONDS = 2


class _Samples(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"".join((SAMPLES / name).read_bytes() for name in RECORDED.values())
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quietly."""


@contextlib.contextmanager
def serving_samples() -> Iterator[str]:
    """host:port of a server with the recorded samples."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Samples) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def write_config(folder: Path, layout: Layout, samples: str) -> Path:
    """The shipped configuration, with this stack's ports for the hosts, and more often."""
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), f"{INTERVAL_SECONDS}s")
    config["rule_files"] = [str(RULES / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        for group in job["static_configs"]:
            group["targets"] = [_translate(target, job["job_name"], layout, samples) for target in group["targets"]]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def _translate(target: str, job: str, layout: Layout, samples: str) -> str:
    name, _, port = target.partition(":")
    if job in RECORDED:
        return samples
    assert layout.port(name) - layout.port_base == int(port) - 8000, target
    return f"127.0.0.1:{layout.port(name)}"


class Prometheus:
    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self._client.get("/-/ready").is_success
        return False

    def query(self, expression: str, since: float, until: float) -> list[list[float]]:
        """The values of every series in that time, oldest first."""
        parameters: dict[str, str | float] = {
            "query": expression,
            "start": since,
            "end": until,
            "step": INTERVAL_SECONDS,
        }
        answer = self._client.get("/api/v1/query_range", params=parameters).raise_for_status().json()
        return [[float(value) for _, value in series["values"]] for series in answer["data"]["result"]]


def has_number(series: list[list[float]]) -> bool:
    return any(math.isfinite(value) for values in series for value in values)


@contextlib.contextmanager
def scraping(folder: Path, layout: Layout, port: int) -> Iterator[Prometheus]:
    """Prometheus, for as long as the block lasts."""
    binary = shutil.which("prometheus")
    assert binary, "prometheus is not on PATH: see `make test-ops`"
    assert is_port_free(port)
    with serving_samples() as samples, (folder / "prometheus.log").open("w") as log:
        command = [binary, f"--config.file={write_config(folder, layout, samples)}"]
        command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        try:
            deadline = time.monotonic() + 30
            while not prometheus.is_ready():
                assert time.monotonic() < deadline, (folder / "prometheus.log").read_text()[-2000:]
                assert child.poll() is None, (folder / "prometheus.log").read_text()[-2000:]
                time.sleep(0.2)
            yield prometheus
        finally:
            child.terminate()
            child.wait(20)
            prometheus._client.close()
