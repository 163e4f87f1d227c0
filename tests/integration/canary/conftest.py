"""One running deployment for all tests of this folder."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.connections import EXISTING
from local.stack.stack import Stack
from tests.integration.canary.models import ModelServer
from tests.integration.canary.town import SETTINGS, Town, save_base

PROCESSES = ("postgres", "valkey", "broker", "model-server", "deployer", "ingest", "gateway")
"""The model server is the tests' own; that it is named lets the first champion be adopted."""


@pytest.fixture(scope="session")
def town(find_port_base: Callable[[], int]) -> Iterator[Town]:
    home = Path(tempfile.mkdtemp(prefix="heliotrope-canary-"))
    home.chmod(0o755)  # as root, Postgres may have to run as a user who must reach its folder
    models = ModelServer()
    given = {
        **SETTINGS,
        EXISTING["mlflow"]: f"sqlite:///{home}/mlflow.db",
        EXISTING["model-server"]: models.url,
    }
    with pytest.MonkeyPatch.context() as patch:
        for variable in EXISTING.values():
            patch.delenv(variable, raising=False)
        base = save_base(home / "base")
        stack = Stack(
            home / "stack", find_port_base(), only=PROCESSES, throwaway=True, environment=given, base_model=base
        )
        try:
            stack.up()
            town = Town(stack, models, home)
            yield town
            town.close()
        finally:
            stack.down()
            models.stop()
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(autouse=True)
def leave_no_rollout_open(town: Town) -> Iterator[None]:
    yield
    for rollout in town.call("GET", "/v1/rollouts?limit=20").json()["rollouts"]:
        if rollout["closed_at"] is None:
            town.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/abort", {"reason": "the test is over"})
