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


def list_served(keys: Mapping[str, str], users: int = 6) -> set[str]:
    """Ask the model as so many users, of whom some may be in the holdback; return the versions that answered."""
    messages = [{"role": "user", "content": "Where is my parcel?"}]
    bodies = [
        {"model": "heliotrope", "user": f"user-{number}", "max_tokens": 20, "messages": messages}
        for number in range(users)
    ]
    answers = [ask(keys, "gateway", "/v1/chat/completions", role="frontend", body=body) for body in bodies]
    return {answer["heliotrope"]["model_version"] for answer in answers}


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
