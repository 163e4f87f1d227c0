"""Which servers a stack starts, and what it tells its processes."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from local.connections import EXISTING, build_environment, choose_connections, leave_out_secrets, select_secrets
from local.credentials import Secrets
from local.layout import Layout
from shared.service_access import PROCESSES
from shared.signing import generate_key

KEYS = tuple(generate_key() for _ in range(4))
SECRETS = Secrets("pg", "vk", "sv", "user-hash", "feedback-token", "audit", "hk_internal", *KEYS)
LAYOUT = Layout(Path("/srv/sun flower"), 9000)


def test_without_existing_servers_all_are_embedded():
    connections = choose_connections(LAYOUT, SECRETS, {})
    assert connections.embedded == tuple(EXISTING)
    assert connections.database_url == "postgresql+psycopg://heliotrope:pg@127.0.0.1:9050/heliotrope"
    assert connections.redis_url == "redis://:vk@127.0.0.1:9051/0"
    assert connections.model_server_urls == "http://127.0.0.1:9006/v1"


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


def select(process: str, given: Mapping[str, str]) -> dict[str, str]:
    connections = choose_connections(LAYOUT, SECRETS, given)
    environment = build_environment(LAYOUT, SECRETS, connections, given)
    return leave_out_secrets(environment) | select_secrets(process, environment, connections)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_is_given_its_own_secrets_and_its_own_role_of_the_database(process: str):
    environment = select(process, {})
    values = {":vk@": "redis_url", "user-hash": "user_hash_secret", "feedback-token": "feedback_token_secret"}
    values |= {"audit": "deployer_audit_key", "hk_internal": "gateway_internal_key"}
    values |= {KEYS[0]: "trainer_manifest_key", KEYS[1]: "deployer_manifest_key", KEYS[2]: "deployer_routing_key"}
    values |= {KEYS[3]: "deployer_assertion_key"}
    seen = {name for value, name in values.items() if any(value in each for each in environment.values())}
    assert seen == set(PROCESSES[process].secrets) & set(values.values())
    role = PROCESSES[process].role
    assert environment["HELIOTROPE_DATABASE_URL"].startswith(f"postgresql+psycopg://heliotrope_{role}:")
    assert not any(":pg@" in each for each in environment.values())


def test_servers_hold_no_secret_of_ours_and_mlflow_its_own_database_alone():
    assert "HELIOTROPE_DATABASE_URL" not in select("model-server", {})
    environment = select("mlflow", {})
    assert "HELIOTROPE_DATABASE_URL" not in environment
    assert environment["MLFLOW_BACKEND_STORE_URI"].startswith("postgresql+psycopg://heliotrope_mlflow:")


def test_an_existing_database_is_reached_by_all_with_the_url_that_names_it():
    url = "postgresql+psycopg://me:secret@db:5433/sun"
    for process in PROCESSES:
        assert select(process, {"HELIOTROPE_DATABASE_URL": url})["HELIOTROPE_DATABASE_URL"] == url
