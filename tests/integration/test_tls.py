"""TLS settings reach every client: of Postgres, and of Kafka through both of its libraries and the commands."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from cli.main import app
from local.servers.broker import find_binary
from local.stack.lag import measure_lag
from shared.bus import Producer, Record
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer, create_topics
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.librdkafka_consumer import LibrdkafkaBusConsumer
from shared.bus.security import KafkaSecurity
from shared.db import check_database, connect
from shared.events import TOPICS
from shared.settings import Settings
from tests.integration.tls import Authority, make_authority, terminating_tls

TOPIC = TOPICS[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture
def postgres_port(database_url: str, authority: Authority, find_port_base: Callable[[], int]) -> Iterator[int]:
    """A Postgres that speaks nothing but TLS."""
    port = find_port_base()
    with terminating_tls(authority, port, make_url(database_url).port or 0, postgres=True):
        yield port


def derive_url(database_url: str, port: int, **query: str) -> str:
    url = make_url(database_url).set(host="localhost", port=port).update_query_dict(query)
    return url.render_as_string(hide_password=False)


def read_tls(url: str) -> bool:
    """Whether a connection made as services make theirs is encrypted."""
    engine = connect(Settings(database_url=url))
    try:
        check_database(engine)
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            return bool(driver.pgconn.ssl_in_use)
    finally:
        engine.dispose()


def test_postgres_is_reached_by_verified_tls(database_url: str, postgres_port: int, authority: Authority):
    url = derive_url(database_url, postgres_port, sslmode="verify-full", sslrootcert=str(authority.ca_file))
    assert read_tls(url)


def test_a_postgres_of_another_authority_is_refused(database_url: str, postgres_port: int, tmp_path: Path):
    stranger = make_authority(tmp_path / "stranger")
    url = derive_url(database_url, postgres_port, sslmode="verify-full", sslrootcert=str(stranger.ca_file))
    with pytest.raises(OperationalError, match="certificate verify failed"):
        read_tls(url)


def test_a_postgres_without_tls_is_refused_where_tls_is_required(database_url: str):
    engine = create_engine(derive_url(database_url, make_url(database_url).port or 0, sslmode="require"))
    with pytest.raises(OperationalError, match="server does not support SSL"), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()


@pytest.fixture(scope="module")
def kafka(authority: Authority, find_port_base: Callable[[], int]) -> Iterator[str]:
    """A broker that sends its clients to a port where only TLS is spoken."""
    base = find_port_base()
    listening, advertised = (f"tcp://127.0.0.1:{base + offset}" for offset in (0, 1))
    command = [find_binary(), "broker", "--listener-url", listening, "--advertised-listener-url", advertised]
    with terminating_tls(authority, base + 1, base), subprocess.Popen([*command, "--silent"]) as broker:
        yield f"127.0.0.1:{base + 1}"
        broker.kill()


@pytest.fixture
def environment(kafka: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSecurity:
    """TLS as the environment says it; the settings that come of it."""
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("HELIOTROPE_KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("HELIOTROPE_KAFKA_CA_FILE", str(authority.ca_file))
    monkeypatch.setenv("HELIOTROPE_USER_HASH_SECRET", "x")
    monkeypatch.setenv("HELIOTROPE_FEEDBACK_TOKEN_SECRET", "x")
    return Settings().kafka_security


@pytest.mark.parametrize("library", ["kafka-python", "librdkafka"])
def test_both_kafka_libraries_speak_tls(library: str, kafka: str, environment: KafkaSecurity):
    prefix = f"{library}."
    create_topics(kafka, topic_prefix=prefix, security=environment)
    record = Record(prefix + TOPIC, b"k", b"v")
    make = {"kafka-python": KafkaBusProducer, "librdkafka": LibrdkafkaBusProducer}[library]
    producer: Producer = make(kafka, client_id="test", security=environment)
    producer.send(record).result(20)
    producer.close(5)
    consume = {"kafka-python": KafkaBusConsumer, "librdkafka": LibrdkafkaBusConsumer}[library]
    consumer = consume(kafka, [prefix + TOPIC], f"{prefix}group", client_id="test", security=environment)
    found: list[Record] = []
    for _ in range(60):
        found += consumer.poll(0.5)
        if found:
            break
    consumer.commit()
    consumer.close()
    assert [each.value for each in found] == [b"v"]
    assert measure_lag(kafka, prefix, environment)[f"{prefix}group"] == 0


def test_the_commands_speak_tls(kafka: str, environment: KafkaSecurity):
    create_topics(kafka, security=environment)
    findings = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    finding = next(each for each in findings if each["check"] == "kafka")
    assert finding["verdict"] == "ok", finding
    said = CliRunner().invoke(app, ["dead-letters", "list"])
    assert (said.exit_code, "no dead letters" in said.stdout) == (0, True), said.output


def test_the_doctor_names_a_kafka_that_wants_tls(
    kafka: str, environment: KafkaSecurity, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HELIOTROPE_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
    findings = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    finding = next(each for each in findings if each["check"] == "kafka")
    assert finding["verdict"] == "problem"
    assert "_SECURITY_PROTOCOL" in finding["remedy"]
