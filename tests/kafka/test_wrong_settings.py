"""A setting that is wrong for this Kafka is told by what is wrong, soon, and by every command alike."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.doctor.finding import Finding
from cli.doctor.kafka import check_kafka
from cli.main import app
from local.connections import choose_connections
from local.credentials import Secrets
from local.layout import Layout
from local.servers.kafka_cluster import KafkaCluster
from tests.kafka.acls import allow, revoke_all

SOON_SECONDS = 25.0
"""kafka-python and librdkafka try for half a minute and more where nobody answers."""
WRONG = {
    "password": ({"SASL_PASSWORD": "another"}, "uthentication failed"),
    "mechanism": ({"SASL_MECHANISM": "SCRAM-SHA-256"}, "SCRAM-SHA-256"),
    "certificate authority": ({"CA_FILE": ""}, "certificate verify failed"),
}
Configure = Callable[..., CliRunner]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One broker is enough here."""
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-settings"), users=["deployer"]).start()
    yield cluster
    cluster.stop()


@pytest.fixture
def configure(secured: KafkaCluster, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Sets what an administrator has set, with what a test changes."""

    def set_all(**changed: str) -> CliRunner:
        settings = secured.environment() | {"HELIOTROPE_TOPIC_PREFIX": topic_prefix, "HELIOTROPE_HOME": str(tmp_path)}
        for name, value in (settings | {f"HELIOTROPE_KAFKA_{name}": value for name, value in changed.items()}).items():
            if value:
                monkeypatch.setenv(name, value)
            else:
                monkeypatch.delenv(name, raising=False)
        return CliRunner()

    return set_all


def examine() -> dict[str, Finding]:
    """What the doctor finds with the settings of now."""
    connections = choose_connections(Layout(Path(), 9000), Secrets("", "", "", "", "", "", ""), os.environ)
    return {finding.check: finding for finding in check_kafka(connections)}


@pytest.mark.parametrize("wrong", WRONG)
def test_commands_end_soon_and_say_what_is_wrong_and_the_doctor_too(configure: Configure, wrong: str):
    changed, words = WRONG[wrong]
    runner = configure(**changed)
    for command in (["topics"], ["dead-letters", "list"]):
        started = time.monotonic()
        said = runner.invoke(app, command)
        assert time.monotonic() - started < SOON_SECONDS
        assert said.exit_code == 1, said.output
        assert isinstance(said.exception, SystemExit)
        assert said.stderr.strip().splitlines()[-1].startswith("heliotrope: Kafka says: ")
        assert words in said.stderr
    found = examine()["kafka"]
    assert (found.verdict, words in found.summary) == ("problem", True), found


def test_one_address_that_is_wrong_hinders_nothing_and_is_named(configure: Configure, secured: KafkaCluster):
    runner = configure(BOOTSTRAP_SERVERS=f"nowhere.invalid:9092,{secured.bootstrap_servers},127.0.0.1:1")
    assert runner.invoke(app, ["topics"]).exit_code == 0
    time.sleep(1)  # until they have leaders
    findings = examine()
    assert (findings["kafka"].verdict, findings["brokers"].verdict) == ("ok", "warning")
    assert all(f"{server} (" in findings["brokers"].summary for server in ("nowhere.invalid:9092", "127.0.0.1:1"))


def test_the_doctor_does_not_call_well_what_it_may_not_look_at(
    configure: Configure, secured: KafkaCluster, topic_prefix: str
):
    assert configure().invoke(app, ["topics"]).exit_code == 0
    allow(secured, "deployer", "topic", "*", "describe")
    configure(SASL_USERNAME="deployer", SASL_PASSWORD=secured.passwords["deployer"])
    deadline = time.monotonic() + SOON_SECONDS
    while "topic settings" not in (found := examine()) and time.monotonic() < deadline:
        time.sleep(0.5)  # until the right has reached the brokers, and the topics have leaders
    finding = found["topic settings"]
    revoke_all(secured, "deployer")
    assert finding.verdict == "warning"
    assert f"{topic_prefix}feedback.received" in finding.summary
