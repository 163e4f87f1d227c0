"""The command against a real Postgres and broker."""

import json

import pytest
from sqlalchemy import create_engine
from typer.testing import CliRunner, Result

from cli.main import app
from local.stack.lag import measure_lag
from shared.auth import KeyRing, draw_key, load_keys
from shared.bus import Record
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer, create_topics
from shared.db import make_session_factory
from shared.errors import Unauthenticated


@pytest.fixture
def invoke(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELIOTROPE_DATABASE_URL", database_url)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return run


def find_role(database_url: str, key: str) -> str:
    engine = create_engine(database_url)
    ring = KeyRing(lambda: load_keys(make_session_factory(engine)))
    ring.refresh()
    engine.dispose()
    return ring.authenticate(f"Bearer {key}").role


def test_a_key_opens_until_it_is_revoked(invoke, database_url: str):
    key = invoke("keys", "create", "shop front end", "--role", "frontend").stdout.strip()
    assert find_role(database_url, key) == "frontend"
    listed = invoke("keys", "list").stdout
    key_id = key.split("_")[1]
    assert key_id in listed
    assert "shop front end" in listed
    assert key not in listed
    assert invoke("keys", "revoke", key_id).exit_code == 0
    with pytest.raises(Unauthenticated):
        find_role(database_url, key)


def test_keys_that_were_given_are_stored_once_and_stay_revoked(
    invoke, database_url: str, kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
):
    given = {role: draw_key() for role in ("admin", "frontend")}
    monkeypatch.setenv("HELIOTROPE_API_KEYS", json.dumps(given))
    monkeypatch.setenv("HELIOTROPE_GATEWAY_INTERNAL_KEY", internal := draw_key())
    monkeypatch.setenv("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("HELIOTROPE_TOPIC_PREFIX", topic_prefix)
    for _ in range(2):
        prepared = invoke("prepare", "--no-keys")
        assert prepared.exit_code == 0
        assert "API keys that were given: admin, frontend, internal." in prepared.stdout
    assert [find_role(database_url, key) for key in (*given.values(), internal)] == ["admin", "frontend", "internal"]
    invoke("keys", "revoke", given["admin"].split("_")[1])
    assert invoke("prepare", "--no-keys").exit_code == 0
    with pytest.raises(Unauthenticated):
        find_role(database_url, given["admin"])
    monkeypatch.setenv("HELIOTROPE_API_KEYS", json.dumps({"admin": "secret"}))
    refused = invoke("prepare", "--no-keys")
    assert refused.exit_code == 1
    assert "a key reads hk_" in refused.output


def test_a_rotated_key_keeps_its_id_and_its_old_secret_opens_only_as_long_as_allowed(invoke, database_url: str):
    first = invoke("keys", "create", "shop", "--role", "frontend").stdout.strip()
    key_id = first.split("_")[1]
    second = invoke("keys", "rotate", key_id, "--grace-minutes", "5").stdout.strip()
    assert second != first
    assert second.split("_")[1] == key_id
    assert find_role(database_url, first) == find_role(database_url, second) == "frontend"
    third = invoke("keys", "rotate", key_id, "--grace-minutes", "0").stdout.strip()
    assert find_role(database_url, third) == "frontend"
    for old in (first, second):
        with pytest.raises(Unauthenticated):
            find_role(database_url, old)
    invoke("keys", "revoke", key_id)
    assert invoke("keys", "rotate", key_id).exit_code == 1


def test_a_key_that_has_expired_opens_nothing(invoke, database_url: str):
    lasting = invoke("keys", "create", "shop", "--role", "ops", "--expires-days", "1").stdout.strip()
    expired = invoke("keys", "create", "shop", "--role", "ops", "--expires-days", "0").stdout.strip()
    assert find_role(database_url, lasting) == "ops"
    with pytest.raises(Unauthenticated):
        find_role(database_url, expired)


def test_a_role_that_does_not_exist_is_refused_with_those_that_do(invoke):
    result = invoke("keys", "create", "shop", "--role", "root")
    assert result.exit_code == 1
    assert "frontend, rater, ops, admin, internal" in result.stderr


def test_migrating_a_migrated_database_changes_nothing(invoke):
    assert invoke("migrate").exit_code == 0


def test_a_database_that_is_away_is_one_line_and_not_a_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELIOTROPE_DATABASE_URL", "postgresql+psycopg://me@127.0.0.1:1/sun")
    result = CliRunner().invoke(app, ["keys", "list"])
    assert result.exit_code == 1
    assert "the database does not answer" in result.stderr
    assert "Traceback" not in result.stderr


def test_status_as_json_is_json_even_when_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path))
    status = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert (status["running"], status["ready"], status["processes"]) == (False, False, [])


def test_lag_is_what_a_group_has_not_committed_yet(kafka_bootstrap: str, topic_prefix: str):
    create_topics(kafka_bootstrap, topic_prefix=topic_prefix)
    topic, group = f"{topic_prefix}feedback.received", f"{topic_prefix}curator"
    producer = KafkaBusProducer(kafka_bootstrap, client_id="test")
    consumer = KafkaBusConsumer(kafka_bootstrap, [topic], group, client_id="test")
    for n in range(6):
        producer.send(Record(topic, f"{n}".encode(), b"{}")).result(10)
    seen = 0
    while seen < 6:
        seen += len(consumer.poll(1))
    consumer.commit()
    assert measure_lag(kafka_bootstrap, topic_prefix)[group] == 0
    producer.send(Record(topic, b"7", b"{}")).result(10)
    assert measure_lag(kafka_bootstrap, topic_prefix)[group] == 1
    consumer.close()
    producer.close(5)
