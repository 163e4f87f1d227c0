"""The broker that commands work on, and the secret under which its deployment hashes users."""

import os
from dataclasses import dataclass

from local.errors import StackFailed
from local.layout import find_home
from shared.bus.security import PLAINTEXT, KafkaSecurity
from shared.settings import Settings, load_settings


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


def find_user_hash_secret() -> str:
    """Return `HELIOTROPE_USER_HASH_SECRET`, else the local stack's if the broker is its; empty if there is none."""
    if configured := load_settings(Settings).user_hash_secret.get_secret_value():
        return configured
    if os.environ.get("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"):
        return ""
    from local.stack.stack import Stack

    stack = Stack.find()
    return stack.secrets.user_hash_secret if stack.layout.secrets.exists() else ""
