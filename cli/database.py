"""The database that commands work on."""

import os

from local.errors import StackFailed
from local.layout import find_home
from shared.settings import Settings, load_settings


def find_database_url() -> str:
    """Return `HELIOTROPE_DATABASE_URL`, else its file in `HELIOTROPE_SECRETS_DIR`, else the local stack's.

    Raises:
        StackFailed: neither exists.
    """
    if configured := os.environ.get("HELIOTROPE_DATABASE_URL"):
        return configured
    if os.environ.get("HELIOTROPE_SECRETS_DIR"):
        return load_settings(Settings).database_url.get_secret_value()
    from local.stack.stack import Stack

    stack = Stack.find()
    if not stack.layout.secrets.exists():
        raise StackFailed(
            f"which database? HELIOTROPE_DATABASE_URL is not set, and no stack was ever started in {find_home()}"
        )
    return stack.connections.database_url
