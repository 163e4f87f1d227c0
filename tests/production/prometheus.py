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

from local.development.dashboard_pictures import Series
from local.layout import Layout
from local.servers.prometheus import write_config
from local.supervision.readiness import is_port_free

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


class Prometheus:
    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self._client.get("/-/ready").is_success
        return False

    def query(self, expression: str, since: float, until: float) -> list[Series]:
        """Every series in that time, oldest value first."""
        parameters: dict[str, str | float] = {
            "query": expression,
            "start": since,
            "end": until,
            "step": INTERVAL_SECONDS,
        }
        answer = self._client.get("/api/v1/query_range", params=parameters).raise_for_status().json()
        return [_read_series(found) for found in answer["data"]["result"]]


def _read_series(found: dict[str, Any]) -> Series:
    times, values = zip(*found["values"], strict=True)
    return Series(found["metric"], times, [float(value) for value in values])


def has_number(series: list[Series]) -> bool:
    return any(math.isfinite(value) for one in series for value in one.values)


@contextlib.contextmanager
def scraping(folder: Path, layout: Layout, port: int) -> Iterator[Prometheus]:
    """Prometheus, for as long as the block lasts."""
    binary = shutil.which("prometheus")
    assert binary, "prometheus is not on PATH: see `make test-ops`"
    assert is_port_free(port)
    with serving_samples() as samples, (folder / "prometheus.log").open("w") as log:
        config = write_config(folder, layout, INTERVAL_SECONDS, dict.fromkeys(RECORDED, samples))
        command = [binary, f"--config.file={config}"]
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
