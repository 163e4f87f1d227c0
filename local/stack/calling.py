"""Calls a service over HTTP: that at an address, else the local stack's."""

import os
from typing import Any

import httpx

from local.errors import StackFailed

DEADLINE_SECONDS = 600.0
"""An approval verifies files, taking back a large import deletes its rows and replaces datasets."""


def call(service: str, address: str, method: str, path: str, role: str, **options: Any) -> Any:
    """Return the service's answer, called with the local stack's key of the role where no address is given.

    Raises: StackFailed: it cannot be found or reached, or refuses.
    """
    url, key = _find(service, address, role)
    try:
        with httpx.Client(base_url=url, timeout=DEADLINE_SECONDS) as client:
            reply = client.request(method, path, headers={"authorization": f"Bearer {key}"}, **options)
    except httpx.HTTPError as error:
        raise StackFailed(f"the {service} at {url} cannot be reached: {error}") from None
    if reply.is_error:
        raise StackFailed(f"the {service} refuses ({reply.status_code}): {_find_reason(reply)}")
    return reply.json()


def _find_reason(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return reply.text[:500]


def _find(service: str, address: str, role: str) -> tuple[str, str]:
    if address:
        if key := os.environ.get("HELIOTROPE_API_KEY"):
            return address, key
        raise StackFailed(f"--{service} needs an API key in HELIOTROPE_API_KEY")
    from local.stack.stack import Stack  # heavy, and not in every image

    stack = Stack.find()
    if not stack.layout.secrets.exists():
        raise StackFailed(f"which {service}? Say --{service} URL, or start the local stack")
    return stack.url(service), stack.credentials[role]
