"""Arize Phoenix and MLflow, each as its own documentation starts it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx

from bench.ingest.contestants import Contestant
from bench.ingest.load import Target
from bench.ingest.processes import Server, make_environment

PACKAGES = {"phoenix": ["arize-phoenix==20.26.1"], "mlflow": ["mlflow==3.17.2", "psycopg2-binary==2.9.13"]}
NOW = "2026-11-22T09:30:00Z"


@contextmanager
def open_phoenix(home: Path, port: int) -> Iterator[list[Contestant]]:
    commands = make_environment("phoenix", PACKAGES["phoenix"])
    environment = {
        "PHOENIX_WORKING_DIR": str(home),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(port + 1),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    server = Server([commands / "phoenix", "serve"], port, environment, home / "phoenix.log")
    try:
        server.wait()
        span_id = uuid4().hex[:16]
        span = {
            "name": "chat",
            "context": {"trace_id": uuid4().hex, "span_id": span_id},
            "span_kind": "LLM",
            "start_time": NOW,
            "end_time": NOW,
            "status_code": "OK",
        }
        url = f"http://127.0.0.1:{port}/v1/projects/default/spans"
        httpx.post(url, json={"data": [span]}, timeout=30).raise_for_status()

        def annotate(number: int) -> bytes:
            annotation = {
                "span_id": span_id,
                "name": "thumb",
                "annotator_kind": "HUMAN",
                "result": {"label": "up", "score": 1.0},
                "metadata": {"page": f"/orders/{number}", "locale": "en-GB"},
                "identifier": str(uuid4()),
            }
            return json.dumps({"data": [annotation]}).encode()

        wait_until_known(f"http://127.0.0.1:{port}/v1/span_annotations?sync=true", annotate(0))
        yield [
            Contestant(
                f"Phoenix, {how}",
                Target("127.0.0.1", port, f"/v1/span_annotations?sync={sync}", {}, annotate),
                server,
            )
            for how, sync in (("queued", "false"), ("sync", "true"))
        ]
    finally:
        server.stop()


def wait_until_known(url: str, body: bytes, seconds: float = 30) -> None:
    """Wait until the span has been stored and can be annotated."""
    deadline = time.monotonic() + seconds
    while True:
        answer = httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=30)
        if answer.is_success:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url} answered {answer.status_code}: {answer.text[:500]}")
        time.sleep(0.5)


@contextmanager
def open_mlflow(home: Path, database_url: str, port: int) -> Iterator[list[Contestant]]:
    commands = make_environment("mlflow", PACKAGES["mlflow"])
    store = database_url.replace("+psycopg", "+psycopg2")
    command = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2", "--backend-store-uri", store]
    environment = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
    }
    server = Server(
        [commands / "mlflow", *command, "--default-artifact-root", str(home)], port, environment, home / "mlflow.log"
    )
    try:
        server.wait()
        script = "import mlflow\nwith mlflow.start_span('chat') as span: pass\nprint(span.trace_id)"
        made = subprocess.run(
            [commands / "python", "-c", script],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        trace_id = next(line for line in reversed(made.stdout.split()) if line.startswith("tr-"))

        def assess(number: int) -> bytes:
            assessment = {
                "assessment_name": "thumb",
                "trace_id": trace_id,
                "source": {"source_type": "HUMAN", "source_id": f"user-{number % 5_000}"},
                "feedback": {"value": True},
                "create_time": NOW,
                "last_update_time": NOW,
                "metadata": {"page": f"/orders/{number}", "locale": "en-GB"},
            }
            return json.dumps({"assessment": assessment}).encode()

        path = f"/api/3.0/mlflow/traces/{trace_id}/assessments"
        wait_until_known(f"http://127.0.0.1:{port}{path}", assess(0))
        yield [Contestant("MLflow assessments", Target("127.0.0.1", port, path, {}, assess), server)]
    finally:
        server.stop()
