"""The broker that commands work on, and the secret under which its deployment hashes users."""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from cli.database import find_database_url
from local.errors import StackFailed
from local.layout import find_home
from shared.bus.security import PLAINTEXT, KafkaSecurity
from shared.settings import Settings, load_settings
from shared.user_hash_generations import configure_user_hashes, load_user_hashes
from shared.user_hashes import UserHashes


@dataclass(frozen=True)
class Broker:
    """Where it is, and how it is spoken to."""

    bootstrap_servers: str
    topic_prefix: str
    security: KafkaSecurity = PLAINTEXT


def find_broker() -> Broker:
    """Find that of `HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS`, else that of the local stack.

    Raises:
        StackFailed: neither exists.
    """
    if os.environ.get("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"):
        settings = load_settings(Settings)
        return Broker(settings.kafka_bootstrap_servers, settings.topic_prefix, settings.kafka_security)
    from local.stack.stack import Stack

    stack = Stack.find()
    if not stack.layout.secrets.exists():
        raise StackFailed(
            "which broker? HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS is not set, and no stack was ever started in "
            f"{find_home()}"
        )
    return Broker(stack.connections.kafka_bootstrap_servers, stack.connections.topic_prefix)


def find_user_hashes() -> UserHashes | None:
    """Find those of `HELIOTROPE_USER_HASH_SECRET`, else the local stack's if the broker is its; None if there are none.

    After a rotation the database says which secret is in force.
    """
    configured = find_configured_hashes(None)
    if not configured.first:
        return None
    return _load_in_force(configured) if configured.later else configured


def find_configured_hashes(folder: Path | None) -> UserHashes:
    """Find the secrets that users are hashed with: in a folder of secret files, the settings, the local stack."""
    settings = Settings(_secrets_dir=folder) if folder else load_settings(Settings)
    configured = configure_user_hashes(settings)
    if not configured.first and not os.environ.get("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"):
        return _find_local_hashes()
    return configured


def _find_local_hashes() -> UserHashes:
    from local.stack.stack import Stack

    stack = Stack.find()
    return stack.secrets.user_hashes if stack.layout.secrets.exists() else UserHashes("")


def _load_in_force(configured: UserHashes) -> UserHashes:
    engine = create_engine(find_database_url(), connect_args={"connect_timeout": 5})
    try:
        with Session(engine) as session:
            return load_user_hashes(configured, session)
    finally:
        engine.dispose()
