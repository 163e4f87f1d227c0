"""MLflow as the compose file starts it: nobody reads or writes without a login, and a login is for what it is for."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from mlflow.exceptions import MlflowException
from pydantic import SecretStr
from sqlalchemy import make_url

from local.connections import Connections
from local.servers.postgres import create_database, drop_database
from shared.registry.login import log_in_to_mlflow
from shared.registry.mlflow import MlflowRegistry
from shared.settings import Settings
from tests.integration.gateway.model_server import wait_until

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "observability" / "mlflow" / "serve.py"
PASSWORDS = {name: f"a password of {name}" for name in ("trainer", "evaluator", "deployer", "admin")}
START_SECONDS = 400.0


@contextmanager
def serve(folder: Path, database_url: str, port: int, passwords: dict[str, str]) -> Iterator[str]:
    (folder / "database_url_mlflow").write_text(database_url)
    (folder / "mlflow_session_key").write_text("a key of tests")
    (folder / "mlflow_passwords").write_text(json.dumps(passwords))
    environment = os.environ | {"MLFLOW_SECRETS_DIR": str(folder), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    arguments += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen([sys.executable, str(SERVE), *arguments], env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_there(server, url, folder), START_SECONDS)
        yield url
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def database(stores: Connections) -> Iterator[str]:
    """One of MLflow's own."""
    name = f"mlflow_test_{uuid4().hex[:12]}"
    yield make_url(create_database(stores.database_server_url, name)).render_as_string(hide_password=False)
    drop_database(stores.database_server_url, name)


def is_there(server: "subprocess.Popen[bytes]", url: str, folder: Path) -> bool:
    assert server.poll() is None, (folder / "log").read_text()[-3000:]
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def log_in(monkeypatch: pytest.MonkeyPatch, url: str, name: str, password: str = "") -> MlflowRegistry:
    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(variable, "")  # and what it was comes back
    log_in_to_mlflow(Settings(mlflow_username=name, mlflow_password=SecretStr(password or PASSWORDS[name])))
    return MlflowRegistry(url, "heliotrope")


@pytest.mark.timeout(1200)
def test_services_log_in_as_themselves_and_nobody_gets_in_without(
    database: str, find_port_base: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = find_port_base()
    with serve(tmp_path, database, port, PASSWORDS) as url:
        for path in ("", "/api/2.0/mlflow/experiments/get?experiment_id=0", "/api/2.0/mlflow-artifacts/artifacts/0/x"):
            assert httpx.get(f"{url}{path}").status_code == 401, path
        assert httpx.get(f"{url}/", auth=("admin", PASSWORDS["admin"])).status_code == 200
        with pytest.raises(MlflowException, match="401"):
            log_in(monkeypatch, url, "trainer", "another password").check()

        trainer = log_in(monkeypatch, url, "trainer")
        run_id = trainer.start_run("a run", {"training_run_id": "r-1"})
        version = trainer.register("s3://bucket/candidate", run_id, {"training_run_id": "r-1"})
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "report.json").write_text("{}")
        evaluator = log_in(monkeypatch, url, "evaluator")
        evaluator.log_folder(evaluator.start_run("a report", {"evaluation_id": "e-1"}), tmp_path / "report", "report")
        evaluator.tag_version(version.version, "verdict", "pass")
        evaluator.set_alias("challenger", version.version)
        with pytest.raises(MlflowException, match="403"):
            evaluator.clear_alias("challenger")

        deployer = log_in(monkeypatch, url, "deployer")
        deployer.set_alias("champion", version.version)
        deployer.clear_alias("challenger")
        deployer.set_tag("audit", "7")
        assert (deployer.load_alias("champion"), deployer.load_alias("challenger")) == (version.version, None)

    changed = {"trainer": "a newer password", "admin": PASSWORDS["admin"], "deployer": PASSWORDS["deployer"]}
    with serve(tmp_path, database, port, changed) as url:
        log_in(monkeypatch, url, "trainer", "a newer password").check()
        for name in ("trainer", "evaluator"):  # whose password changed, and who was taken off the list
            with pytest.raises(MlflowException, match="401"):
                log_in(monkeypatch, url, name).check()
