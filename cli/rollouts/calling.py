"""Calls the deployer: that at an address, else the local stack's."""

import os
from typing import Any

import httpx

from local.errors import StackFailed

DEADLINE_SECONDS = 180.0
"""An approval verifies files, a rollback asks a model server."""


def call(deployer: str, method: str, path: str, role: str, **options: Any) -> Any:
    """Return the deployer's answer, called with the local stack's key of the role where no address is given.

    Raises: StackFailed: it cannot be found or reached, or refuses.
    """
    address, key = _find_deployer(deployer, role)
    try:
        with httpx.Client(base_url=address, timeout=DEADLINE_SECONDS) as client:
            reply = client.request(method, path, headers={"authorization": f"Bearer {key}"}, **options)
    except httpx.HTTPError as error:
        raise StackFailed(f"the deployer at {address} cannot be reached: {error}") from None
    if reply.is_error:
        raise StackFailed(f"the deployer refuses ({reply.status_code}): {_find_reason(reply)}")
    return reply.json()


def _find_reason(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return reply.text[:500]


def _find_deployer(deployer: str, role: str) -> tuple[str, str]:
    if deployer:
        if key := os.environ.get("HELIOTROPE_API_KEY"):
            return deployer, key
        raise StackFailed("--deployer needs an API key in HELIOTROPE_API_KEY")
    from local.stack.stack import Stack

    stack = Stack.find()
    if not stack.layout.secrets.exists():
        raise StackFailed("which deployer? Say --deployer URL, or start the local stack")
    return stack.url("deployer"), stack.credentials[role]
