"""The services' APIs, called as whoever is signed in: what they may not do is refused there, and all is audited."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from services.console.domain.people import Assertion, Person
from shared.errors import HeliotropeError, Unauthenticated, Unavailable

PROBE_SECONDS = 2.0
MAX_DETAIL = 600
CLOSED = "default-src 'none'; frame-ancestors 'none'"


class ActRefused(HeliotropeError):
    """A service did not do what was asked; `status` is what it answered."""

    title = "Not done"

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status  # type: ignore[misc]  # each refusal has its own


@dataclass(frozen=True)
class Readiness:
    """What a process says of itself; `problem` None: all is well."""

    name: str
    url: str
    problem: str | None
    degraded: tuple[str, ...] = ()
    lag: tuple[tuple[str, float], ...] = ()
    """Records that wait, by consumer."""


@dataclass(frozen=True)
class ForeignPage:
    """A page that a service made whole, with the policy that it is shown under."""

    html: str
    policy: str


class Services:
    """Every service by name, over one pool of connections."""

    def __init__(self, urls: Mapping[str, str], client: httpx.Client) -> None:
        self.urls, self._client = urls, client

    def assert_person(self, sign_in_key: str) -> Assertion:
        """Ask the deployer who this is. Raises: Unauthenticated, Unavailable."""
        response = self._send("deployer", "POST", "/v1/assertions", sign_in_key)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise Unauthenticated("no account has this key, or it is disabled")
        if response.is_error:
            raise Unavailable(_read_detail(response))
        said = response.json()
        return Assertion(Person(said["account_id"], said["name"], said["role"]), said["assertion"])

    def act(self, service: str, path: str, assertion: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST as the person who is signed in, and return what was answered. Raises: ActRefused, Unavailable."""
        return self._read(self._send(service, "POST", path, assertion, body or {}))

    def ask(self, service: str, path: str, assertion: str) -> Any:
        """GET as the person who is signed in; None where there is nothing. Raises: ActRefused, Unavailable."""
        return self._read(self._send(service, "GET", path, assertion))

    def fetch_page(self, service: str, path: str, assertion: str) -> ForeignPage:
        """GET a page of HTML as the person who is signed in. Raises: ActRefused, Unavailable."""
        response = self._send(service, "GET", path, assertion)
        if response.is_error:
            raise ActRefused(_read_detail(response), response.status_code)
        return ForeignPage(response.text, response.headers.get("content-security-policy", CLOSED))

    def probe(self, name: str) -> Readiness:
        """Ask a process whether it is ready, and how far behind it is."""
        url = self.urls[name]
        try:
            said = self._client.get(f"{url}/readyz", timeout=PROBE_SECONDS)
            body = said.json()
            metrics = self._client.get(f"{url}/metrics", timeout=PROBE_SECONDS).text
        except (httpx.HTTPError, ValueError) as error:
            return Readiness(name, url, f"does not answer ({type(error).__name__})")
        failed = [f"{check}: {result}" for check, result in body.get("checks", {}).items() if result != "ok"]
        problem = None if body.get("ready") else "not ready, " + ", ".join(failed)
        return Readiness(name, url, problem, tuple(body.get("degraded", ())), tuple(read_lag(metrics)))

    def close(self) -> None:
        self._client.close()

    def _send(self, service: str, method: str, path: str, bearer: str, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {bearer}"}
        try:
            return self._client.request(method, f"{self.urls[service]}{path}", headers=headers, json=body)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the {service} does not answer ({type(error).__name__}): try again in a moment"
            ) from error

    def _read(self, response: httpx.Response) -> Any:
        if response.is_error:
            raise ActRefused(_read_detail(response), response.status_code)
        return response.json() if response.content else None


def read_lag(metrics: str) -> list[tuple[str, float]]:
    """Read how many records wait for each consumer out of a process's metrics."""
    lines = (line for line in metrics.splitlines() if line.startswith("heliotrope_consumer_lag_records{"))
    return [(line.partition('consumer="')[2].partition('"')[0], float(line.rpartition(" ")[2])) for line in lines]


def _read_detail(response: httpx.Response) -> str:
    try:
        said = response.json()
    except ValueError:
        said = {}
    detail = said.get("detail") if isinstance(said, dict) else None
    return str(detail or f"it answered {response.status_code} {response.reason_phrase}")[:MAX_DETAIL]
