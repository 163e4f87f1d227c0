"""Calls to an engine's REST API, with its answers as errors of ours."""

import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from services.trainer.domain.launching.endings import (
    LauncherDenied,
    LauncherRefused,
    LauncherUnavailable,
    QuotaReached,
)

CALL_SECONDS = 20.0
WORDS = 300


def open_client(
    url: str, *, verify: ssl.SSLContext | bool = True, headers: Mapping[str, str] | None = None
) -> httpx.Client:
    """Open a client that keeps no connection between calls, which are seconds apart."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=url, verify=verify, headers=headers, limits=limits)


def call(
    client: httpx.Client, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """Call; returns what was answered with 2xx, 404 or 409.

    Raises:
        LauncherDenied: 401 or 403.
        QuotaReached: 429, or a refusal that speaks of a quota.
        LauncherRefused: any other 4xx.
        LauncherUnavailable: no answer, or 5xx.
    """
    try:
        response = client.request(method, path, json=body, headers=headers, timeout=CALL_SECONDS)
    except (httpx.HTTPError, OSError) as error:
        raise LauncherUnavailable(f"{client.base_url} does not answer: {type(error).__name__}: {error}") from error
    status, words = response.status_code, f"{response.status_code} {response.text.strip()[:WORDS]}"
    if response.is_success or status in (404, 409):
        return response
    if status == 429 or (status in (400, 403) and "quota" in response.text.lower()):
        raise QuotaReached(words)
    if status in (401, 403):
        raise LauncherDenied(words)
    if 400 <= status < 500:
        raise LauncherRefused(words)
    raise LauncherUnavailable(words)
