"""Settings that every process shares, read from `HELIOTROPE_*` and validated at start."""

import os
import re
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.bus.security import KafkaSecurity
from shared.signing import Verifier

ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[^\s:/@]{1,253}):[0-9]{1,5}")
"""Of a server: host:port, IPv6 in brackets."""

LAST_PORT = 65_535

PORT_NUMBERS = {
    "console": 0,
    "ingest": 1,
    "gateway": 2,
    "curator": 3,
    "deployer": 4,
    "evaluator": 7,
    "trainer": 8,
    "drift-monitor": 9,
    "trainer-worker": 11,
}
"""Each process of ours listens on `port_base` plus its number, unless `port` says otherwise."""


def _is_address(server: str) -> bool:
    return bool(ADDRESS.fullmatch(server)) and 0 < int(server.rpartition(":")[2]) <= LAST_PORT


class Settings(BaseSettings):
    """Where things are. Services add their own group with the prefix `HELIOTROPE_<SERVICE>_`."""

    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_", extra="ignore", frozen=True)

    home: Path = Field(Path(".heliotrope"), description="folder for state, logs and artifacts")
    family: str = Field("heliotrope", description="name of the model family, and of its registered model")
    port_base: int = Field(8000, ge=1024, le=65_000, description="ports are this plus the service's number")
    bind_host: str = Field("127.0.0.1", description="address that the HTTP servers listen on")
    port: int = Field(0, ge=0, le=LAST_PORT, description="port of this process; 0 takes the service's default")
    database_url: SecretStr = Field(
        SecretStr("postgresql+psycopg://heliotrope@127.0.0.1:8050/heliotrope"), description="SQLAlchemy URL"
    )
    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:8051/0"), description="Celery's broker")
    kafka_bootstrap_servers: str = Field("127.0.0.1:8052", description="host:port, comma separated")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how clients speak to Kafka"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how clients log in, with a SASL protocol"
    )
    kafka_sasl_username: str = Field("", description="who logs in to Kafka")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="their password")
    kafka_ca_file: Path | None = Field(None, description="PEM file of whom clients trust; unset: the system's")
    kafka_certificate_file: Path | None = Field(None, description="PEM file of this client's certificate (mutual TLS)")
    kafka_key_file: Path | None = Field(None, description="PEM file of that certificate's key")
    mlflow_tracking_uri: str = Field("http://127.0.0.1:8005", description="MLflow server")
    mlflow_username: str = Field("", description="who logs in to MLflow, where there is a password")
    mlflow_password: SecretStr = Field(SecretStr(""), description="their password; empty: MLflow asks for none")
    topic_prefix: str = Field("", description="keeps deployments and tests apart on one Kafka")
    model_server_urls: Annotated[list[str], NoDecode] = Field(
        ["http://127.0.0.1:8006/v1"], description="OpenAI-compatible base URLs, comma separated"
    )
    user_hash_secret: SecretStr = Field(SecretStr(""), description="key of the hash that replaces user ids")
    user_hash_later_secrets: Annotated[list[SecretStr], NoDecode] = Field(
        [], description="keys that hash those hashes in turn, comma separated, oldest first: `heliotrope keys rotate`"
    )
    feedback_token_secret: SecretStr = Field(SecretStr(""), description="signs feedback tokens for browsers")
    assertion_public_keys: Annotated[list[str], NoDecode] = Field(
        [], description="who may say who signed in: the deployer's Ed25519 public keys; empty: nobody signs in"
    )
    manifest_public_keys: Annotated[list[str], NoDecode] = Field(
        [], description="whose candidates are trusted: Ed25519 public keys, comma separated; empty: anybody's"
    )
    datasets_dir: Path | None = Field(None, description="frozen datasets; default: datasets/ in home")
    artifacts_uri: str | None = Field(
        None,
        description="address that datasets, checkpoints, candidates and reports are stored under, for instance "
        "s3://bucket/prefix; unset: folders in home, which all processes share, and MLflow's store",
    )
    artifact_cache_bytes: int = Field(
        100_000_000_000, gt=0, description="what fetched datasets and models may take up on this machine's disk"
    )
    consumer_session_timeout_seconds: float = Field(
        6.0, gt=0, description="a consumer silent for this long loses its partitions"
    )
    drain_seconds: float = Field(
        0.0, ge=0, description="how long a server that was told to end still accepts, not ready any more"
    )
    stop_seconds: float = Field(20.0, ge=0, description="how long requests in flight may then still take")
    idle_seconds: int = Field(
        75,
        ge=1,
        description="how long a connection may wait for its next request: longer than load balancers in front keep "
        "theirs, or a request of theirs meets its end",
    )
    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        ["127.0.0.1"],
        description="addresses and networks of proxies whose X-Forwarded-For and -Proto are believed, comma separated",
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @field_validator("model_server_urls", mode="before")
    @classmethod
    def _split_urls(cls, value: object) -> object:
        if isinstance(value, str):
            return [url.strip().rstrip("/") for url in value.split(",") if url.strip()]
        return value

    @field_validator(
        "manifest_public_keys", "assertion_public_keys", "user_hash_later_secrets", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split_list(cls, value: object) -> object:
        return [key.strip() for key in value.split(",") if key.strip()] if isinstance(value, str) else value

    @field_validator("manifest_public_keys", "assertion_public_keys")
    @classmethod
    def _check_keys(cls, value: list[str]) -> list[str]:
        Verifier(value)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: list[str]) -> list[str]:
        for proxy in value:
            ip_network(proxy)
        return value

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _check_brokers(cls, value: str) -> str:
        servers = [server.strip() for server in value.split(",") if server.strip()]
        wrong = [server for server in servers if not _is_address(server)]
        if wrong or not servers:
            raise ValueError(f"{wrong[0] if wrong else 'nothing'!r} is no host:port")
        return ",".join(servers)

    @model_validator(mode="after")
    def _check_kafka_login(self) -> Self:
        asks = self.kafka_security_protocol.startswith("SASL_")
        if asks and not (self.kafka_sasl_username and self.kafka_sasl_password.get_secret_value()):
            raise ValueError(
                "HELIOTROPE_KAFKA_SECURITY_PROTOCOL asks for a login: set HELIOTROPE_KAFKA_SASL_USERNAME and "
                "HELIOTROPE_KAFKA_SASL_PASSWORD"
            )
        if self.kafka_sasl_username and not asks:
            raise ValueError(
                f"HELIOTROPE_KAFKA_SASL_USERNAME is set, but HELIOTROPE_KAFKA_SECURITY_PROTOCOL is "
                f"{self.kafka_security_protocol}, which logs nobody in: SASL_SSL does"
            )
        return self

    @model_validator(mode="after")
    def _check_kafka_files(self) -> Self:
        if problem := self.kafka_security.find_problem():
            raise ValueError(problem)
        return self

    @property
    def kafka_security(self) -> KafkaSecurity:
        return KafkaSecurity(
            protocol=self.kafka_security_protocol,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_sasl_username,
            password=self.kafka_sasl_password.get_secret_value(),
            ca_file=self.kafka_ca_file,
            certificate_file=self.kafka_certificate_file,
            key_file=self.kafka_key_file,
        )

    def choose_port(self, process: str) -> int:
        """Return the port that a process listens on: `port` if it is set, else by its number."""
        return self.port or self.port_base + PORT_NUMBERS[process]

    @property
    def datasets(self) -> Path:
        return self.datasets_dir or self.home / "datasets"


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load_settings(settings_type: type[SettingsT]) -> SettingsT:
    """Read and validate settings, or exit with status 2 and one line per wrong variable.

    In the folder `HELIOTROPE_SECRETS_DIR`, a file named as a variable stands for it; the variable itself goes first.
    """
    try:
        return settings_type(_secrets_dir=os.environ.get("HELIOTROPE_SECRETS_DIR"))
    except ValidationError as error:
        sys.stderr.write("".join(f"{line}\n" for line in describe_wrong_settings(settings_type, error)))
        raise SystemExit(2) from None


def describe_wrong_settings(settings_type: type[BaseSettings], error: ValidationError) -> list[str]:
    """Return one line for each wrong variable, by its name; a rule about several names them itself."""
    prefix = settings_type.model_config.get("env_prefix", "")
    problems = error.errors(include_input=False, include_url=False)
    names = ["_".join(str(part) for part in problem["loc"]).upper() for problem in problems]
    return [
        f"{prefix}{name}: {problem['msg']}" if name else problem["msg"].removeprefix("Value error, ")
        for name, problem in zip(names, problems, strict=True)
    ]
