"""The broker that commands work on."""

import os

from local.errors import StackFailed
from local.layout import find_home


def find_broker() -> tuple[str, str]:
    """(bootstrap servers, topic prefix): `HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS`, else those of the local stack.

    Raises:
        StackFailed: neither exists.
    """
    if configured := os.environ.get("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"):
        return configured, os.environ.get("HELIOTROPE_TOPIC_PREFIX", "")
    from local.stack import Stack

    stack = Stack.find()
    if not stack.layout.secrets.exists():
        raise StackFailed(
            "which broker? HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS is not set, and no stack was ever started in "
            f"{find_home()}"
        )
    return stack.connections.kafka_bootstrap_servers, stack.connections.topic_prefix
