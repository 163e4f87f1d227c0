"""Each service with only its own extra installed, started as its container is: ready, and gone when told."""

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from local.roles import derive_role_url
from local.servers.postgres import create_database
from local.stack.stack import STORES, Stack
from shared.auth import draw_key
from shared.service_access import DATABASE_ROLES, PROCESSES
from shared.signing import generate_key
from tests.production.containers import Container, copy_app, make_venv, read_chart, read_compose, substitute

pytestmark = [pytest.mark.ops, pytest.mark.timeout(1200)]

EXTRAS = {
    "ingest": ("ingest",),
    "gateway": ("gateway",),
    "curator": ("curator", "drift-monitor"),
    "deployer": ("deployer",),
    "trainer": ("trainer", "trainer-worker"),
    "evaluator": ("evaluator",),
    "console": ("console",),
}
"""Extra -> the services that run with it."""
PASSWORD = "a-password-of-the-roles"
ABSENT = {
    "HELIOTROPE_FEEDBACK_TOKEN_PREVIOUS_SECRETS": "",
    "HELIOTROPE_GATEWAY_MODEL_SERVER_KEY": "",
    "HELIOTROPE_MLFLOW_PASSWORD": "",
}
"""Optional keys of the chart's secret."""
READY_SECONDS = 120
STOP_SECONDS = 40
FINISHED = "Application shutdown complete."
"""What uvicorn says before it ends by the signal that told it to."""


@pytest.fixture(scope="module")
def app() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="heliotrope-image-"))
    copy_app(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def here(app: Path, find_port_base: Callable[[], int]) -> Iterator[dict[str, str]]:
    """Hosts and secrets of an embedded stack on which `prepare` has run as compose runs it."""
    home = Path(tempfile.mkdtemp(prefix="heliotrope-production-"))
    home.chmod(0o755)
    stack = Stack(home / "stack", find_port_base(), only=(*STORES, "mlflow"), base_model=app, throwaway=True)
    stack.up()
    try:
        known = stack.connections
        create_database(known.database_server_url, "heliotrope")
        values = {
            "HELIOTROPE_BIND_HOST": "127.0.0.1",
            "HELIOTROPE_DATABASE_URL": known.database_url,
            "HELIOTROPE_REDIS_URL": known.redis_url,
            "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": known.kafka_bootstrap_servers,
            "HELIOTROPE_MLFLOW_TRACKING_URI": known.mlflow_tracking_uri,
            "HELIOTROPE_MODEL_SERVER_URLS": "http://127.0.0.1:9/v1",
            "HELIOTROPE_GATEWAY_DEPLOYER_URL": "http://127.0.0.1:9",
            "HELIOTROPE_USER_HASH_SECRET": "sixteen letters and more",
            "HELIOTROPE_FEEDBACK_TOKEN_SECRET": "sixteen letters for this test",
            "HELIOTROPE_GATEWAY_INTERNAL_KEY": draw_key(),
            "HELIOTROPE_DEPLOYER_AUDIT_KEY": "sixteen letters that seal",
            "HELIOTROPE_TRAINER_MANIFEST_KEY": generate_key(),
            "HELIOTROPE_DEPLOYER_MANIFEST_KEY": generate_key(),
            "HELIOTROPE_MANIFEST_PUBLIC_KEYS": "",
            "HELIOTROPE_DEPLOYER_ROUTING_KEY": generate_key(),
            "HELIOTROPE_GATEWAY_ROUTING_PUBLIC_KEYS": "",
            "HELIOTROPE_DEPLOYER_ASSERTION_KEY": generate_key(),
            "HELIOTROPE_ASSERTION_PUBLIC_KEYS": "",
            "HELIOTROPE_ROLE_PASSWORDS": json.dumps(dict.fromkeys(DATABASE_ROLES, PASSWORD)),
            "HELIOTROPE_ARTIFACTS_URI": (home / "artifacts").as_uri(),
            "OBJECTS_CREDENTIALS": "",
            "HELIOTROPE_PORT": str(find_port_base()),
        }
        prepare(app, home, values)
        yield values
    finally:
        stack.down()
        shutil.rmtree(home)


def prepare(app: Path, home: Path, values: Mapping[str, str]) -> None:
    venv = home / "venv"
    make_venv(venv, app, extra="")
    container = read_compose()["prepare"]
    said = subprocess.run(
        container.command,
        env=substitute(container, values, home, venv),
        executable=str(venv / "bin" / container.command[0]),
        cwd=app,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert (home / "state" / "credentials.json").exists()


def as_role(name: str, here: Mapping[str, str]) -> dict[str, str]:
    """Hosts and secrets with the database as this service's own role reaches it."""
    url = derive_role_url(here["HELIOTROPE_DATABASE_URL"], PROCESSES[name].role, PASSWORD)
    return {**here, "HELIOTROPE_DATABASE_URL": url, **ABSENT}


def start_and_stop(container: Container, values: Mapping[str, str], app: Path, folder: Path, venv: Path) -> None:
    """Raises unless it becomes ready, and then ends in time when it is told to stop."""
    folder.mkdir()
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(
            container.command,
            env=substitute(container, values, folder, venv),
            executable=str(venv / "bin" / container.command[0]),
            cwd=app,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_ready(child, values["HELIOTROPE_PORT"], folder / "log")
            child.send_signal(signal.SIGTERM)
            ended, said = child.wait(STOP_SECONDS), (folder / "log").read_text()
            assert ended == 0 or (ended == -signal.SIGTERM and FINISHED in said), f"{ended}: {said[-3000:]}"
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def wait_until_ready(child: "subprocess.Popen[bytes]", port: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    answer = "nothing"
    while time.monotonic() < deadline:
        assert child.poll() is None, f"ended with {child.returncode}:\n{log.read_text()[-3000:]}"
        try:
            response = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10, trust_env=False)
            checks = response.json()["checks"]
            if response.status_code == 200 or set(checks.values()) - {checks.get("routing")} == {"ok"}:
                return  # a gateway is ready once a model is adopted
            answer = response.text
        except httpx.HTTPError as error:
            answer = repr(error)
        time.sleep(0.3)
    raise AssertionError(f"not ready, answers {answer}:\n{log.read_text()[-3000:]}")


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_service_starts_with_only_its_own_extra_as_its_container_does(
    extra: str, app: Path, here: dict[str, str], tmp_path: Path
):
    venv = tmp_path / "venv"
    make_venv(venv, app, extra)
    try:
        for source, containers in (("compose", read_compose()), ("chart", read_chart())):
            for name in EXTRAS[extra]:
                start_and_stop(containers[name], as_role(name, here), app, tmp_path / f"{source}-{name}", venv)
    finally:
        shutil.rmtree(venv)


def test_every_service_of_compose_and_of_the_chart_is_among_them():
    ours = {name for names in EXTRAS.values() for name in names}
    assert set(read_compose()) - {"prepare"} == set(read_chart()) == ours
