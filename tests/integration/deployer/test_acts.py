"""What people do outside the deployer stands in the sealed audit log, by name, and cannot be taken out unseen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from cli.main import app
from services.deployer.repository.acts import load_unsealed_acts
from shared.tables.quarantine import Quarantined
from tests.builders import NOON
from tests.integration.curator.erasure_scene import start
from tests.integration.curator.scene import Curator, hashed, open_curator
from tests.integration.deployer.scene import Setup

USER = "ines@shop"
DONE = ("pause", "resume", "quarantine_reject", "erase")


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path / "home") as curator:
        yield curator


def run(database_url: str, *arguments: str) -> Any:
    environment = {
        "HELIOTROPE_DATABASE_URL": database_url,
        "HELIOTROPE_MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    return CliRunner().invoke(app, list(arguments), env=environment)


def read_log(setup: Setup) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = setup.call("GET", "/v1/audit").json()["entries"]
    return [entry for entry in entries if "act_id" in entry["detail"]]


def act(curator: Curator) -> None:
    start(curator)
    curator.call("POST", "/v1/pause")
    curator.call("POST", "/v1/resume")
    with curator.sessions() as session, session.begin():
        about = {"reason": "burst", "detail": {}, "found_at": NOON}
        session.add(Quarantined(subject_kind="user", subject_id=hashed(USER), **about))
    decided = curator.call("POST", f"/v1/quarantine/user/{hashed(USER)}/reject", json={"reason": "a script"})
    assert decided.status_code == 200
    assert curator.erase(USER).status_code == 201


def test_acts_of_services_and_commands_are_sealed_by_name_and_without_users(
    curator: Curator, setup: Setup, database_url: str
) -> None:
    act(curator)
    key = run(database_url, "keys", "create", "shop", "--role", "frontend").stdout.strip()
    run(database_url, "keys", "revoke", key.split("_")[1])
    assert run(database_url, "accounts", "create", "Ada", "--role", "ops").exit_code == 0
    assert setup.maintenance.seal_acts() >= 7
    assert setup.maintenance.seal_acts() == 0
    log = read_log(setup)
    actions = [entry["action"] for entry in log]
    assert [each for each in actions if each in DONE] == list(DONE)
    assert actions[-3:] == ["create_key", "revoke_key", "create_account"]
    by_action = {entry["action"]: entry for entry in log}
    assert by_action["pause"]["actor"] == "admin"
    assert by_action["pause"]["detail"]["key_id"]
    assert "@" in by_action["create_key"]["actor"]
    assert hashed(USER) not in str(log)
    assert key.split("_", 2)[2] not in str(log)
    verified = run(database_url, "audit", "verify")
    assert (verified.exit_code, "intact" in verified.output) == (0, True)


@pytest.mark.parametrize("change", ("UPDATE curator.acts SET actor = 'nobody'", "DELETE FROM curator.acts"))
def test_an_act_that_is_changed_or_removed_is_refused_and_seen(
    curator: Curator, setup: Setup, database_url: str, change: str
) -> None:
    curator.call("POST", "/v1/pause")
    setup.maintenance.seal_acts()
    engine = create_engine(database_url)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(change))
    with engine.begin() as connection:  # as the owner of the database may
        connection.execute(text("ALTER TABLE curator.acts DISABLE TRIGGER USER"))
        connection.execute(text(change))
    engine.dispose()
    verified = run(database_url, "audit", "verify")
    assert verified.exit_code == 1
    assert "that curator recorded" in verified.output


def test_an_act_stands_only_if_it_was_done(curator: Curator, setup: Setup) -> None:
    assert curator.call("POST", "/v1/erasures", json={"user_id": "nobody knows them"}).status_code == 404
    assert curator.call("POST", "/v1/pause", role="ops").status_code == 403
    with setup.sessions() as session:
        assert load_unsealed_acts(session) == []
