"""`heliotrope doctor` names each fault that was put there, and what to do about it."""

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from cli.doctor.machine import check_disk, check_home, check_packages
from cli.doctor.servers import check_clock
from cli.main import app
from local.layout import Layout
from shared.bus.kafka import create_topics

Findings = list[dict[str, Any]]
Examine = Callable[..., Findings]


@pytest.fixture
def examine(tmp_path: Path, find_port_base: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Examine:
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HELIOTROPE_PORT_BASE", str(find_port_base()))
    for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS", "MLFLOW_TRACKING_URI", "MODEL_SERVER_URLS"):
        monkeypatch.delenv(f"HELIOTROPE_{name}", raising=False)

    def run(**environment: str) -> Findings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        said = CliRunner().invoke(app, ["doctor", "--json"])
        findings: Findings = json.loads(said.stdout)
        assert said.exit_code == (1 if any(each["verdict"] == "problem" for each in findings) else 0)
        return findings

    return run


def find(findings: Findings, check: str) -> dict[str, Any]:
    return next(each for each in findings if each["check"] == check)


def test_a_machine_where_nothing_was_started_yet_is_told_how_to_start(examine: Examine, tmp_path: Path):
    findings = examine()
    assert find(findings, "home")["remedy"] == "heliotrope up"
    assert find(findings, "ports")["verdict"] == "ok"
    assert find(findings, "settings")["verdict"] == "ok"
    assert not (tmp_path / "home").exists()


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant(examine: Examine):
    finding = find(examine(HELIOTROPE_CURATOR_VOLUME_PEARS="300"), "settings")
    assert (finding["verdict"], finding["remedy"]) == ("warning", "did you mean HELIOTROPE_CURATOR_VOLUME_PAIRS?")


def test_a_value_that_no_process_accepts_is_named_and_not_repeated(examine: Examine):
    finding = find(examine(HELIOTROPE_DEPLOYER_ALPHA="hunter2"), "settings")
    assert finding["verdict"] == "problem"
    assert "HELIOTROPE_DEPLOYER_ALPHA" in finding["summary"]
    assert "hunter2" not in json.dumps(finding)


def test_a_rule_about_several_variables_is_told_by_their_names(examine: Examine):
    finding = find(examine(HELIOTROPE_KAFKA_SECURITY_PROTOCOL="SASL_SSL"), "settings")
    assert finding["verdict"] == "problem"
    assert finding["summary"].startswith("HELIOTROPE_KAFKA_SECURITY_PROTOCOL asks for a login: set HELIOTROPE_KAFKA_")


def test_a_variable_may_be_a_file_of_secrets_here_too(examine: Examine, tmp_path: Path):
    secrets = {"kafka_sasl_password": "sunflower", "user_hash_secret": "a" * 40, "feedback_token_secret": "b" * 40}
    for name, value in secrets.items():
        (tmp_path / f"heliotrope_{name}").write_text(value)
    login = {"HELIOTROPE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "HELIOTROPE_KAFKA_SASL_USERNAME": "prepare"}
    kafka = {"HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    findings = examine(HELIOTROPE_SECRETS_DIR=str(tmp_path), **login, **kafka)
    assert find(findings, "settings")["verdict"] == "ok", findings


@pytest.fixture
def taken_port(examine: Examine) -> Iterator[int]:
    port = Layout(Path(), int(os.environ["HELIOTROPE_PORT_BASE"])).port("gateway")
    with socket.create_server(("127.0.0.1", port)):
        yield port


def test_a_taken_port_is_named_with_what_wanted_it(examine: Examine, taken_port: int):
    finding = find(examine(), "ports")
    assert finding["verdict"] == "problem"
    assert f"{taken_port} (for gateway)" in finding["summary"]
    assert "HELIOTROPE_PORT_BASE" in finding["remedy"]


def test_existing_servers_that_do_not_answer_are_named_without_their_passwords(examine: Examine):
    findings = examine(
        HELIOTROPE_DATABASE_URL="postgresql+psycopg://sun:opensesame@127.0.0.1:1/sun",
        HELIOTROPE_REDIS_URL="redis://:opensesame@127.0.0.1:1/0",
        HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        HELIOTROPE_MLFLOW_TRACKING_URI="http://127.0.0.1:1",
        HELIOTROPE_MODEL_SERVER_URLS="http://127.0.0.1:1/v1",
    )
    for check in ("postgres", "redis", "kafka", "mlflow", "model server"):
        assert find(findings, check)["verdict"] == "problem"
        assert "HELIOTROPE_" in find(findings, check)["remedy"]
    assert find(findings, "settings")["summary"].startswith("not set: HELIOTROPE_USER_HASH_SECRET")
    assert "opensesame" not in json.dumps(findings)


def test_a_kafka_without_the_topics_is_told_how_to_make_them(examine: Examine, kafka_bootstrap: str, topic_prefix: str):
    servers = {"HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "HELIOTROPE_TOPIC_PREFIX": topic_prefix}
    finding = find(examine(**servers), "kafka")
    assert finding["verdict"] == "problem"
    assert f"{topic_prefix}feedback.received" in finding["summary"]
    assert finding["remedy"].startswith("heliotrope topics")


def test_topics_that_only_one_process_can_read_are_named(examine: Examine, kafka_bootstrap: str, topic_prefix: str):
    servers = {"HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "HELIOTROPE_TOPIC_PREFIX": topic_prefix}
    create_topics(kafka_bootstrap, topic_prefix=topic_prefix, partitions=1)
    findings = examine(**servers)
    assert find(findings, "kafka")["verdict"] == "ok"
    assert f"{topic_prefix}feedback.received has 1" in find(findings, "partitions")["summary"]
    assert "--partitions" in find(findings, "partitions")["remedy"]


class SlowClock:
    """A database whose clock is behind."""

    def scalar(self, statement: object) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=90)


def test_a_clock_that_is_wrong_is_named_with_by_how_much():
    finding = next(iter(check_clock(SlowClock())))  # type: ignore[arg-type]
    assert finding.verdict == "problem"
    assert finding.summary.startswith("the database's clock is -90.")
    assert "NTP" in finding.remedy


def test_a_database_behind_this_version_is_to_be_migrated(examine: Examine, database_url: str):
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()
    finding = find(examine(HELIOTROPE_DATABASE_URL=database_url), "schema")
    assert finding["verdict"] == "problem"
    assert finding["summary"].startswith("the schema is at 0001, not ")
    assert finding["remedy"] == "heliotrope migrate"


def test_a_migrated_database_without_keys_or_champion_is_told_what_to_make(examine: Examine, database_url: str):
    findings = examine(HELIOTROPE_DATABASE_URL=database_url)
    assert find(findings, "schema")["verdict"] == find(findings, "clock")["verdict"] == "ok"
    assert find(findings, "keys")["remedy"].startswith("heliotrope keys create")
    assert find(findings, "champion")["remedy"] == "heliotrope adopt MODEL"


def test_secrets_that_others_can_read_are_named_with_the_command_that_closes_them(tmp_path: Path):
    layout = Layout(tmp_path)
    layout.credentials.write_text("{}")
    layout.credentials.chmod(0o644)
    finding = next(each for each in check_home(layout) if each.check == "secrets")
    assert finding.verdict == "problem"
    assert finding.remedy == f"chmod 600 '{layout.credentials}'"
    assert stat.S_IMODE(layout.credentials.stat().st_mode) == 0o644


def test_a_package_of_another_version_than_locked_is_named(tmp_path: Path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("fastapi==0.0.1\nno-such-package==1.0\n")
    finding = next(iter(check_packages(lock)))
    assert finding.verdict == "warning"
    assert "not 0.0.1" in finding.summary
    assert "no-such-package is missing, not 1.0" in finding.summary


def test_the_disk_that_is_looked_at_is_the_homes_even_before_there_is_one(tmp_path: Path):
    finding = next(iter(check_disk(Layout(tmp_path / "not" / "yet"))))
    assert f"free at {tmp_path}" in finding.summary
