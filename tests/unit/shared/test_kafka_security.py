"""Kafka's TLS and SASL settings: accepted or refused, and as each client library names them."""

import pytest
from confluent_kafka import Consumer
from kafka import KafkaAdminClient

from shared.settings import Settings, load_settings

LOGIN = {
    "HELIOTROPE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "HELIOTROPE_KAFKA_SASL_USERNAME": "curator",
    "HELIOTROPE_KAFKA_SASL_PASSWORD": "sunflower",
    "HELIOTROPE_KAFKA_CA_FILE": "/etc/kafka/ca.pem",
}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    return load_settings(Settings)


def test_both_clients_are_told_the_same(settings: Settings):
    assert settings.kafka_security.for_kafka_python() == {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": "/etc/kafka/ca.pem",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "curator",
        "sasl_plain_password": "sunflower",
    }
    assert settings.kafka_security.for_librdkafka() == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "/etc/kafka/ca.pem",
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


def test_the_password_is_never_shown(settings: Settings):
    assert "sunflower" not in repr(settings)
    assert "sunflower" not in repr(settings.kafka_security)


def test_a_secret_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path):
    (tmp_path / "heliotrope_user_hash_secret").write_text("from-a-file-of-secrets\n")
    monkeypatch.setenv("HELIOTROPE_SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv("HELIOTROPE_USER_HASH_SECRET", raising=False)
    assert load_settings(Settings).user_hash_secret.get_secret_value() == "from-a-file-of-secrets"
