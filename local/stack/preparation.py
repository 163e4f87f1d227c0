"""What must be true between starting the servers and starting the services: databases, tables, topics, a champion."""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from alembic import command
from alembic.config import Config
from confluent_kafka import KafkaException
from sqlalchemy import make_url

from local.connections import Connections
from local.credentials import Secrets
from local.errors import PreparationFailed
from local.layout import Layout, find_base_model, find_checkout
from local.roles import grant_rights, make_roles
from local.servers.postgres import create_database
from local.topics import load_plans
from local.user_hashing import check_secrets, record_first_secret
from shared.bus.limits import open_admin
from shared.bus.topics import ensure_topics
from shared.user_hashes import SecretsDiffer, UserHashes


def prepare_databases(connections: Connections, secrets: Secrets) -> None:
    """Create ours (when the server is ours) and MLflow's, with its role."""
    if "postgres" in connections.embedded:
        create_database(connections.database_server_url, str(make_url(connections.database_url).database))
    if "mlflow" in connections.embedded:
        create_database(connections.database_url, str(make_url(connections.mlflow_database_url).database))
        if connections.role_urls:
            make_roles(connections.database_url, {"mlflow": secrets.role_password("mlflow")})


def prepare_roles(connections: Connections, secrets: Secrets) -> None:
    """Make one role for each service, when the server is ours."""
    if connections.role_urls:
        make_roles(connections.database_url, {role: secrets.role_password(role) for role in connections.role_urls})


def migrate(database_url: str) -> None:
    """Bring our schemas to the newest version, and the rights of services' roles up to it."""
    config = Config(find_checkout() / "alembic.ini")
    config.attributes["url"] = database_url
    command.upgrade(config, "head")
    grant_rights(database_url)


def record_user_hash_secret(database_url: str, secret: str) -> None:
    """Have the database know which secret users are hashed with, by its fingerprint, from the first start on."""
    if secret:
        record_first_secret(database_url, secret)


def check_user_hash_secrets(database_url: str, environment: Mapping[str, str]) -> None:
    """Raises: PreparationFailed: the database knows other secrets, so that no service would become ready."""
    later = environment.get("HELIOTROPE_USER_HASH_LATER_SECRETS", "").split(",")
    configured = UserHashes(environment["HELIOTROPE_USER_HASH_SECRET"], tuple(each for each in later if each))
    try:
        check_secrets(database_url, configured)
    except SecretsDiffer as error:
        raise PreparationFailed(f"{error.detail}; docs/keys.md says what to do") from error


def prepare_topics(connections: Connections) -> None:
    """Create the topics on an existing Kafka; the embedded broker makes its own."""
    if "broker" not in connections.embedded:
        try:
            admin = open_admin(connections.kafka_bootstrap_servers, connections.kafka_security)
            ensure_topics(admin, load_plans(connections.topic_prefix))
        except KafkaException as error:
            raise PreparationFailed(f"the topics cannot be made: {error.args[0].str()}") from error


def adopt(model: str | Path, environment: Mapping[str, str], files: str | None = None) -> str:
    """Make a checkpoint the first champion; does nothing when there is one. Returns what the command said."""
    where = ("--files", files) if files else ()
    finished = subprocess.run(
        [sys.executable, "-m", "services.deployer", "adopt", "--model", str(model), *where],
        env=dict(environment),
        cwd=find_checkout(),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        said = "\n".join((finished.stdout + finished.stderr).splitlines()[-15:])
        raise PreparationFailed(f"adopting {model} failed:\n{said}")
    return finished.stdout.strip()


class BaseModel:
    """The checkpoint that becomes the first champion: if need be, a child process makes it while the stack starts."""

    def __init__(self, folder: Path | None, environment: Mapping[str, str]) -> None:
        self._folder = folder or find_base_model()
        self._environment = environment
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> "BaseModel":
        if not self._folder.exists():
            self._child = subprocess.Popen(
                [sys.executable, "-m", "local.models.checkpoints", "smollm2", str(self._folder)],
                env=dict(self._environment),
                cwd=find_checkout(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._child is None or self._child.stdout is None or self._child.stdout.closed:
            return
        if self._child.poll() is None:
            self._child.terminate()
        self._child.communicate()

    def wait(self) -> Path:
        """Return the folder, once it is complete.

        Raises:
            PreparationFailed: it could not be made.
        """
        if self._child is not None:
            said, _ = self._child.communicate()
            if self._child.returncode != 0:
                raise PreparationFailed(f"the base model could not be made:\n{said[-2000:]}")
        return self._folder


def warm_up(layout: Layout, ops_key: str, deadline_seconds: float = 240) -> None:
    """Ask the champion for one word through the gateway, so that the first user does not wait for it to load.

    It is asked for by version, which is a probe: nothing is recorded.

    Raises:
        PreparationFailed: no answer within the deadline.
    """
    deadline = time.monotonic() + deadline_seconds
    authorization = {"Authorization": f"Bearer {ops_key}"}
    while True:
        try:
            routing = httpx.get(f"{layout.url('deployer')}/v1/routing", headers=authorization, timeout=10)
            version = routing.raise_for_status().json()["champion"]["version"]
            body = {"model": version, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
            url = f"{layout.url('gateway')}/v1/chat/completions"
            httpx.post(url, json=body, headers=authorization, timeout=deadline_seconds).raise_for_status()
            return
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise PreparationFailed(f"the champion does not answer: {error}") from error
            time.sleep(0.5)
