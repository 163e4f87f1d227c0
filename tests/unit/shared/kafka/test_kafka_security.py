"""Kafka's TLS and SASL settings: accepted or refused, and as each client library names them."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer
from kafka import KafkaAdminClient

from shared.settings import Settings, load_settings

LOGIN = {
    "HELIOTROPE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "HELIOTROPE_KAFKA_SASL_USERNAME": "curator",
    "HELIOTROPE_KAFKA_SASL_PASSWORD": "sunflower",
}


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_text("an authority's certificate")
    return file


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, ca_file: Path) -> Settings:
    for name, value in (LOGIN | {"HELIOTROPE_KAFKA_CA_FILE": str(ca_file)}).items():
        monkeypatch.setenv(name, value)
    return load_settings(Settings)


def test_both_clients_are_told_the_same(settings: Settings, ca_file: Path):
    assert settings.kafka_security.for_kafka_python() == {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(ca_file),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "curator",
        "sasl_plain_password": "sunflower",
    }
    assert settings.kafka_security.for_librdkafka() == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(ca_file),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "curator",
        "sasl.password": "sunflower",
    }


def test_the_libraries_know_every_name_that_they_are_told(settings: Settings):
    assert set(settings.kafka_security.for_kafka_python()) <= set(KafkaAdminClient.DEFAULT_CONFIG)
    without_files = {
        name: value for name, value in settings.kafka_security.for_librdkafka().items() if name != "ssl.ca.location"
    }
    Consumer({"group.id": "curator", **without_files}).close()  # refuses names that it does not know


def test_a_login_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("HELIOTROPE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(SystemExit):
        load_settings(Settings)
    assert "HELIOTROPE_KAFKA_SASL_PASSWORD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"KAFKA_BOOTSTRAP_SERVERS": "kafka"},
            "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS: Value error, 'kafka' is no host:port",
        ),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092,kafka://two:9092"}, "'kafka://two:9092' is no host:port"),
        ({"KAFKA_BOOTSTRAP_SERVERS": " , "}, "'nothing' is no host:port"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka:90921"}, "'kafka:90921' is no host:port"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka:0"}, "'kafka:0' is no host:port"),
        ({"KAFKA_SASL_USERNAME": "curator"}, "HELIOTROPE_KAFKA_SECURITY_PROTOCOL is PLAINTEXT, which logs nobody in"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_CA_FILE": "/nowhere/ca.pem"},
            "HELIOTROPE_KAFKA_CA_FILE: /nowhere/ca.pem is no file that can be read",
        ),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_KEY_FILE": __file__}, "go together: one of them is missing"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "HELIOTROPE_KAFKA_SASL_MECHANISM"),
    ],
)
def test_what_no_client_could_work_with_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: dict[str, str], told: str
):
    for name, value in given.items():
        monkeypatch.setenv(f"HELIOTROPE_{name}", value)
    with pytest.raises(SystemExit):
        load_settings(Settings)
    assert told in capsys.readouterr().err


def test_addresses_are_taken_without_their_blanks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS", "one:9092, [::1]:9093,")
    assert load_settings(Settings).kafka_bootstrap_servers == "one:9092,[::1]:9093"


def test_the_password_is_never_shown(settings: Settings):
    assert "sunflower" not in repr(settings)
    assert "sunflower" not in repr(settings.kafka_security)


def test_a_secret_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path):
    (tmp_path / "heliotrope_user_hash_secret").write_text("from-a-file-of-secrets\n")
    monkeypatch.setenv("HELIOTROPE_SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv("HELIOTROPE_USER_HASH_SECRET", raising=False)
    assert load_settings(Settings).user_hash_secret.get_secret_value() == "from-a-file-of-secrets"
