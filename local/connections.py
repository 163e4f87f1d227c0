"""Which servers this stack starts itself, and the environment that tells each process where all of them are."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import make_url

from local.cpu import choose_evaluation_dtype
from local.credentials import Secrets
from local.errors import StackFailed
from local.layout import MARK, Layout
from local.roles import derive_role_url
from shared.bus.security import PLAINTEXT, KafkaSecurity
from shared.service_access import DATABASE_ROLES, PROCESSES, list_secrets, name_role
from shared.settings import Settings, describe_wrong_settings
from shared.signing import derive_public_key

EXISTING = {
    "postgres": "HELIOTROPE_DATABASE_URL",
    "valkey": "HELIOTROPE_REDIS_URL",
    "broker": "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS",
    "mlflow": "HELIOTROPE_MLFLOW_TRACKING_URI",
    "model-server": "HELIOTROPE_MODEL_SERVER_URLS",
}
"""Server -> the variable that names an existing one, which is then used in its place."""

DATABASE = "heliotrope"


@dataclass(frozen=True)
class Connections:
    """Where the servers are. `embedded` are those that the stack starts."""

    embedded: tuple[str, ...]
    database_url: str
    mlflow_database_url: str
    redis_url: str
    kafka_bootstrap_servers: str
    mlflow_tracking_uri: str
    model_server_urls: str
    topic_prefix: str
    kafka_security: KafkaSecurity = PLAINTEXT
    role_urls: Mapping[str, str] = field(default_factory=dict)
    """By database role, where the database is ours; an existing database is reached with the URL that names it."""

    @property
    def database_server_url(self) -> str:
        """For statements about databases: one that exists from the start."""
        if "postgres" not in self.embedded:
            return self.database_url
        return make_url(self.database_url).set(database="postgres").render_as_string(hide_password=False)


def choose_connections(layout: Layout, secrets: Secrets, given: Mapping[str, str]) -> Connections:
    """Return the existing servers that `given` names, and embedded ones for the rest."""
    database_url = given.get(EXISTING["postgres"], secrets.database_url(layout.port("postgres"), DATABASE))
    ours = not given.get(EXISTING["postgres"])
    return Connections(
        embedded=tuple(server for server, variable in EXISTING.items() if not given.get(variable)),
        database_url=database_url,
        mlflow_database_url=_derive_own_mlflow_url(database_url, secrets) if ours else derive_mlflow_url(database_url),
        redis_url=given.get(EXISTING["valkey"], secrets.redis_url(layout.port("valkey"))),
        kafka_bootstrap_servers=given.get(EXISTING["broker"], f"127.0.0.1:{layout.port('broker')}"),
        mlflow_tracking_uri=given.get(EXISTING["mlflow"], layout.url("mlflow")),
        model_server_urls=given.get(EXISTING["model-server"], f"{layout.url('model-server')}/v1"),
        topic_prefix=given.get("HELIOTROPE_TOPIC_PREFIX", ""),
        kafka_security=read_kafka_security() if given.get(EXISTING["broker"]) else PLAINTEXT,
        role_urls=derive_role_urls(database_url, secrets) if ours else {},
    )


def read_kafka_security() -> KafkaSecurity:
    """Return how an existing Kafka is spoken to.

    Wrong settings count as none: `heliotrope up` refuses to start with them, and `heliotrope doctor` names them.
    """
    try:
        return Settings(_secrets_dir=os.environ.get("HELIOTROPE_SECRETS_DIR")).kafka_security
    except ValidationError:
        return PLAINTEXT


def check_settings() -> None:
    """Raises: StackFailed: a setting that processes share is wrong, which would keep each of them from starting."""
    try:
        Settings(_secrets_dir=os.environ.get("HELIOTROPE_SECRETS_DIR"))
    except ValidationError as error:
        raise StackFailed("; ".join(describe_wrong_settings(Settings, error))) from None


def derive_mlflow_url(database_url: str) -> str:
    """Derive the address of MLflow's own database beside ours: its migrations must not meet ours."""
    url = make_url(database_url)
    return url.set(database=f"{url.database}_mlflow").render_as_string(hide_password=False)


def _derive_own_mlflow_url(database_url: str, secrets: Secrets) -> str:
    name = name_role(str(make_url(database_url).database), "mlflow")
    url = make_url(derive_mlflow_url(database_url)).set(username=name, password=secrets.role_password("mlflow"))
    return url.render_as_string(hide_password=False)


def build_environment(
    layout: Layout, secrets: Secrets, connections: Connections, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the operator's environment: what `given` says, and on top of it what this stack decides, all secrets
    included.
    """
    scripts = Path(sys.executable).parent
    page = layout.port("chat-page")
    return {
        "HELIOTROPE_INGEST_CORS_ORIGINS": f"http://127.0.0.1:{page},http://localhost:{page}",
        "HELIOTROPE_USER_HASH_SECRET": secrets.user_hash_secret,
        "HELIOTROPE_USER_HASH_LATER_SECRETS": secrets.user_hash_later_secrets,
        "HELIOTROPE_FEEDBACK_TOKEN_PREVIOUS_SECRETS": secrets.feedback_token_previous_secrets,
        "HELIOTROPE_FEEDBACK_TOKEN_SECRET": secrets.feedback_token_secret,
        "HELIOTROPE_DEPLOYER_AUDIT_KEY": secrets.audit_key,
        "HELIOTROPE_GATEWAY_INTERNAL_KEY": secrets.internal_key,
        "HELIOTROPE_TRAINER_MANIFEST_KEY": secrets.trainer_manifest_key,
        "HELIOTROPE_DEPLOYER_MANIFEST_KEY": secrets.deployer_manifest_key,
        "HELIOTROPE_MANIFEST_PUBLIC_KEYS": _list_public_keys(
            secrets.manifest_public_keys, secrets.trainer_manifest_key, secrets.deployer_manifest_key
        ),
        "HELIOTROPE_DEPLOYER_ROUTING_KEY": secrets.deployer_routing_key,
        "HELIOTROPE_DEPLOYER_ASSERTION_KEY": secrets.deployer_assertion_key,
        "HELIOTROPE_ASSERTION_PUBLIC_KEYS": _list_public_keys(
            secrets.assertion_public_keys, secrets.deployer_assertion_key
        ),
        "HELIOTROPE_GATEWAY_ROUTING_PUBLIC_KEYS": _list_public_keys(
            secrets.gateway_routing_public_keys, secrets.deployer_routing_key
        ),
        "HELIOTROPE_GATEWAY_ALLOWED_BASE_URLS": connections.model_server_urls,
        "HELIOTROPE_EVALUATOR_DTYPE": choose_evaluation_dtype(),
        "HELIOTROPE_DEPLOYER_SERVING": "endpoints" if given.get(EXISTING["model-server"]) else "local",
        **given,
        "HELIOTROPE_HOME": str(layout.home),
        "HELIOTROPE_PORT_BASE": str(layout.port_base),
        "HELIOTROPE_DATABASE_URL": connections.database_url,
        "HELIOTROPE_REDIS_URL": connections.redis_url,
        "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": connections.kafka_bootstrap_servers,
        "HELIOTROPE_MLFLOW_TRACKING_URI": connections.mlflow_tracking_uri,
        "HELIOTROPE_MODEL_SERVER_URLS": connections.model_server_urls,
        "MLFLOW_BACKEND_STORE_URI": connections.mlflow_database_url,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": (layout.home / "mlartifacts").as_uri(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(layout.home / "cache" / "huggingface"),
        "MPLCONFIGDIR": str(layout.home / "cache" / "matplotlib"),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "PATH": os.pathsep.join([str(scripts), given.get("PATH", os.defpath)]),
        MARK: str(layout.home),
    }


def _list_public_keys(kept: str, *keys: str) -> str:
    """Whom those trust who verify: what signs now, and what a rotation kept."""
    return ",".join(dict.fromkeys([*(derive_public_key(key) for key in keys if key), *kept.split(",")])).strip(",")


MLFLOW_DATABASE = "MLFLOW_BACKEND_STORE_URI"


def leave_out_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what every process may see."""
    secret = {name_variable(name) for name in list_secrets()} | {MLFLOW_DATABASE}
    return {name: value for name, value in environment.items() if name not in secret}


def select_secrets(process: str, environment: Mapping[str, str], connections: Connections) -> dict[str, str]:
    """Return the secrets that a process is given beside that, and its own URL of the database where the database is
    ours.
    """
    if process == "mlflow":
        return {MLFLOW_DATABASE: connections.mlflow_database_url}
    if (access := PROCESSES.get(process)) is None:
        return {}
    names = [name_variable(name) for name in access.secrets]
    found = {name: environment[name] for name in names if environment.get(name)}
    return found | {"HELIOTROPE_DATABASE_URL": connections.role_urls.get(access.role, connections.database_url)}


def name_variable(setting: str) -> str:
    """Return the environment variable of a setting."""
    return f"HELIOTROPE_{setting.upper()}"


def derive_role_urls(database_url: str, secrets: Secrets) -> dict[str, str]:
    """Return, by role, the URL with which a service reaches the database."""
    return {role: derive_role_url(database_url, role, secrets.role_password(role)) for role in DATABASE_ROLES}
