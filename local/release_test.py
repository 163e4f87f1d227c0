"""`python -m local.release_test`: try an installation with one chat and one edit, which becomes a pair, and forget it.

What `helm test` runs. Its user is new each time and erased at the end, so that nobody learns from it.
"""

import sys
import time
from typing import Any
from uuid import uuid4

import httpx
from pydantic import Field, HttpUrl, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from local.errors import StackFailed
from shared.settings import Settings, load_settings

REQUEST_SECONDS = 120.0
PAUSE_SECONDS = 1.0


class ReleaseTestSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_", extra="ignore", frozen=True)

    api_keys: dict[str, SecretStr] = Field(description="API keys by role, of which it takes frontend, ops and admin")
    test_ingest_url: HttpUrl = Field(description="where ingest is")
    test_gateway_url: HttpUrl = Field(description="where the gateway is")
    test_curator_url: HttpUrl = Field(description="where the curator is")
    test_deadline_seconds: float = Field(120.0, gt=0, description="until when the edit has to be a pair")


class Release:
    """The services of one installation over HTTP."""

    def __init__(self, settings: ReleaseTestSettings, client: httpx.Client) -> None:
        self._urls = {
            "ingest": settings.test_ingest_url,
            "gateway": settings.test_gateway_url,
            "curator": settings.test_curator_url,
        }
        self._keys = {role: key.get_secret_value() for role, key in settings.api_keys.items()}
        self._client = client

    def ask(self, role: str, service: str, path: str, body: Any = None) -> Any:
        """Ask a service, by POST where there is a body. Raises: StackFailed: it refused, or cannot be reached."""
        if role not in self._keys:
            raise StackFailed(f"HELIOTROPE_API_KEYS has no key of role {role}")
        try:
            response = self._client.request(
                "GET" if body is None else "POST",
                f"{str(self._urls[service]).rstrip('/')}{path}",
                json=body,
                headers={"authorization": f"Bearer {self._keys[role]}"},
            )
        except httpx.HTTPError as error:
            raise StackFailed(f"{service} cannot be reached: {error!r}") from None
        if response.is_error:
            raise StackFailed(f"{service} answered {response.status_code}: {response.text[:500]}")
        return response.json()


def try_release(release: Release, family: str, deadline_seconds: float) -> None:
    """Chat, edit, wait for the pair, and erase the user. Raises: StackFailed: one of them did not work."""
    user = f"release-test-{uuid4()}"
    question = {"role": "user", "content": "Where is my parcel?"}
    chat = {"model": family, "user": user, "max_tokens": 20, "messages": [question]}
    answer = release.ask("frontend", "gateway", "/v1/chat/completions", chat)["heliotrope"]
    _say(f"chat: answered by version {answer['model_version']}")
    try:
        interaction_id = answer["interaction_ids"][0]
        edit = {"type": "edit", "interaction_id": interaction_id, "user_id": user, "text": "Choose Track in My Orders."}
        release.ask("frontend", "ingest", "/v1/feedback", edit)
        _say("feedback: acknowledged")
        took = _wait_for_pair(release, interaction_id, deadline_seconds)
        _say(f"pair: in the tables after {took:.1f} s")
    finally:
        release.ask("admin", "curator", "/v1/erasures", {"user_id": user, "even_unknown": True})
        _say("erased: the test's user")


def _wait_for_pair(release: Release, interaction_id: str, deadline_seconds: float) -> float:
    started = time.monotonic()
    while not release.ask("ops", "curator", f"/v1/pairs?interaction_id={interaction_id}")["pairs"]:
        if time.monotonic() - started > deadline_seconds:
            raise StackFailed(f"the edit was no pair after {deadline_seconds:g} s: look at the curator and its lag")
        time.sleep(PAUSE_SECONDS)
    return time.monotonic() - started


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    settings = load_settings(ReleaseTestSettings)
    with httpx.Client(timeout=REQUEST_SECONDS, trust_env=False) as client:
        try:
            try_release(Release(settings, client), load_settings(Settings).family, settings.test_deadline_seconds)
        except StackFailed as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
