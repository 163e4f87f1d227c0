"""Each service of the stack over HTTP, by its number among the ports and with the key of a role."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

PORT_BASE = 26_000
NUMBERS = {"gateway": 2, "curator": 3, "deployer": 4, "trainer": 8}
Found = TypeVar("Found")


def ask(keys: Mapping[str, str], service: str, path: str, *, role: str = "ops", body: Any = None) -> dict[str, Any]:
    """Ask a service, by POST where there is a body. Raises: httpx.HTTPError: it refused or did not answer."""
    response = httpx.request(
        "GET" if body is None else "POST",
        f"http://127.0.0.1:{PORT_BASE + NUMBERS[service]}{path}",
        headers={"authorization": f"Bearer {keys[role]}"},
        json=body,
        timeout=120,
    )
    response.raise_for_status()
    return dict(response.json())


def chat(keys: Mapping[str, str], question: str = "Where is my parcel?") -> dict[str, Any]:
    """Ask the model as a user does; returns what Heliotrope adds to OpenAI's answer."""
    messages = [{"role": "user", "content": question}]
    body = {"model": "heliotrope", "user": "anna", "max_tokens": 20, "messages": messages}
    return dict(ask(keys, "gateway", "/v1/chat/completions", role="frontend", body=body)["heliotrope"])


def list_pairs(keys: Mapping[str, str]) -> list[str]:
    """List the ids of the newest pairs."""
    return [pair["pair_id"] for pair in ask(keys, "curator", "/v1/pairs?limit=1000")["pairs"]]


def wait_for(look: Callable[[], Found | None], what: str, *, seconds: float = 600) -> Found:
    """Look again and again until there is something; what cannot be reached is not there yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")
