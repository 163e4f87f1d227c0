"""Which servers a stack starts, and what it tells its processes."""

from pathlib import Path

import pytest

from local.connections import EXISTING, build_environment, choose_connections
from local.credentials import Secrets
from local.layout import Layout

SECRETS = Secrets("pg", "vk", "sv", "user-hash", "feedback-token", "audit")
LAYOUT = Layout(Path("/srv/sun flower"), 9000)


def test_without_existing_servers_all_are_embedded():
    connections = choose_connections(LAYOUT, SECRETS, {})
    assert connections.embedded == tuple(EXISTING)
    assert connections.database_url == "postgresql+psycopg://heliotrope:pg@127.0.0.1:9050/heliotrope"
    assert connections.redis_url == "redis://:vk@127.0.0.1:9051/0"
    assert connections.model_server_urls == "http://127.0.0.1:9006/v1,http://127.0.0.1:9010/v1"


@pytest.mark.parametrize(
    ("server", "variable", "value"),
    [
        ("postgres", "HELIOTROPE_DATABASE_URL", "postgresql+psycopg://me@db/sun"),
        ("valkey", "HELIOTROPE_REDIS_URL", "redis://cache/1"),
        ("broker", "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS", "kafka-1:9092,kafka-2:9092"),
        ("mlflow", "HELIOTROPE_MLFLOW_TRACKING_URI", "http://mlflow:5000"),
    ],
)
def test_an_existing_server_is_passed_on_and_not_started(server: str, variable: str, value: str):
    connections = choose_connections(LAYOUT, SECRETS, {variable: value})
    assert server not in connections.embedded
    assert build_environment(LAYOUT, SECRETS, connections, {variable: value})[variable] == value


def test_an_empty_variable_means_no_existing_server():
    assert "valkey" in choose_connections(LAYOUT, SECRETS, {"HELIOTROPE_REDIS_URL": ""}).embedded


def test_mlflow_keeps_its_tables_in_a_database_of_its_own_beside_ours():
    given = {"HELIOTROPE_DATABASE_URL": "postgresql+psycopg://me:secret@db:5433/sun"}
    connections = choose_connections(LAYOUT, SECRETS, given)
    assert connections.mlflow_database_url == "postgresql+psycopg://me:secret@db:5433/sun_mlflow"


def test_secrets_that_were_given_win_over_generated_ones():
    given = {"HELIOTROPE_USER_HASH_SECRET": "from the vault"}
    environment = build_environment(LAYOUT, SECRETS, choose_connections(LAYOUT, SECRETS, given), given)
    assert environment["HELIOTROPE_USER_HASH_SECRET"] == "from the vault"
    assert environment["HELIOTROPE_FEEDBACK_TOKEN_SECRET"] == "feedback-token"


def test_no_process_asks_a_model_hub_or_sends_telemetry():
    environment = build_environment(LAYOUT, SECRETS, choose_connections(LAYOUT, SECRETS, {}), {})
    assert environment["HF_HUB_OFFLINE"] == environment["HF_DATASETS_OFFLINE"] == "1"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
