"""The app factory, driven over ASGI without a socket."""

import asyncio
import gzip
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from psycopg.errors import UndefinedColumn
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError, ProgrammingError
from structlog.testing import capture_logs

from shared.auth import Caller, KeyRing, StoredKey, require
from shared.errors import FieldError, InvalidRequest, Unavailable
from shared.http import Cors, FirstContact, RequestLimiter, create_app
from shared.secret_hashes import calculate_secret_hash

SECRET = "s" * 43
OPS_KEY = f"hk_0123456789ab_{SECRET}"


class Body(BaseModel):
    count: int


def broken() -> None:
    raise ConnectionError("postgres://user:password@host is away")


@pytest.fixture
def app() -> FastAPI:
    app = create_app("sample", checks={"database": lambda: None, "bus": broken}, max_body_bytes=1_000)
    ops = Caller("0123456789ab", "olga", "ops")
    app.state.keys = KeyRing(lambda: {ops.key_id: StoredKey(ops, calculate_secret_hash(SECRET))})
    app.state.keys.refresh()

    @app.post("/count")
    def count(body: Body) -> int:
        return body.count

    @app.get("/fail/{kind}")
    def fail(kind: str) -> None:
        if kind == "field":
            raise InvalidRequest("no", errors=[FieldError("events.3.value", "must be up or down")])
        if kind == "busy":
            raise Unavailable("the broker did not answer in time")
        if kind == "away":
            raise OperationalError("SELECT 1", {}, ConnectionError("server closed the connection unexpectedly"))
        if kind == "wrong":
            raise ProgrammingError("SELECT secret", {}, UndefinedColumn())
        raise RuntimeError("secret detail")

    @app.get("/admin")
    def admin(caller: Caller = Depends(require("admin"))) -> str:
        return caller.name

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.fixture
def client(app: FastAPI) -> httpx.AsyncClient:
    return open_client(app)


def open_client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://sample")


def get(client: httpx.AsyncClient, method: str, url: str, **options: object) -> httpx.Response:
    return asyncio.run(client.request(method, url, **options))  # type: ignore[arg-type]


def test_readiness_names_what_is_not_ready_and_leaks_nothing(client: httpx.AsyncClient):
    response = get(client, "GET", "/readyz")
    assert response.status_code == 503
    assert response.json() == {"ready": False, "checks": {"database": "ok", "bus": "ConnectionError"}}


def test_a_wrong_type_is_422_with_the_field_named_and_the_value_not_echoed(client: httpx.AsyncClient):
    response = get(client, "POST", "/count", json={"count": "<script>"})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["field"] == "count"
    assert "<script>" not in response.text


def test_a_body_that_is_not_json_is_400(client: httpx.AsyncClient):
    response = get(client, "POST", "/count", content=b"{", headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["title"] == "Malformed body"


def test_a_body_over_the_limit_is_413(client: httpx.AsyncClient):
    assert get(client, "POST", "/raw", content=b"x" * 1_001).status_code == 413
    assert get(client, "POST", "/raw", content=b"x" * 1_000).json() == 1_000


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "gzip, gzip"])
def test_an_encoded_body_is_415_and_not_said_to_be_no_json(client: httpx.AsyncClient, encoding: str):
    headers = {"content-type": "application/json", "content-encoding": encoding}
    response = get(client, "POST", "/count", content=gzip.compress(b'{"count": 1}'), headers=headers)
    assert (response.status_code, response.json()["status"]) == (415, 415)
    plain = {"content-type": "application/json", "content-encoding": "identity"}
    assert get(client, "POST", "/count", content=b'{"count": 1}', headers=plain).json() == 1


def test_an_error_of_ours_keeps_its_status_and_fields(client: httpx.AsyncClient):
    response = get(client, "GET", "/fail/field")
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "events.3.value", "message": "must be up or down"}]


def test_unavailable_says_when_to_retry(client: httpx.AsyncClient):
    response = get(client, "GET", "/fail/busy")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


def test_a_database_that_is_away_is_unavailable_and_one_that_says_no_is_an_error(client: httpx.AsyncClient):
    away = get(client, "GET", "/fail/away")
    assert away.status_code == 503
    assert int(away.headers["retry-after"]) > 0
    assert "SELECT" not in away.text
    assert get(client, "GET", "/fail/wrong").status_code == 500


def test_an_unexpected_error_is_a_problem_without_its_detail(client: httpx.AsyncClient):
    response = get(client, "GET", "/fail/other")
    assert response.status_code == 500
    assert "secret detail" not in response.text


def test_an_unknown_route_is_a_problem(client: httpx.AsyncClient):
    response = get(client, "GET", "/nowhere")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_a_missing_key_is_401_and_a_wrong_role_403(client: httpx.AsyncClient):
    assert get(client, "GET", "/admin").status_code == 401
    response = get(client, "GET", "/admin", headers={"authorization": f"Bearer {OPS_KEY}"})
    assert response.status_code == 403
    assert "admin" in response.json()["detail"]


def test_requests_are_counted_by_route_and_not_by_url(client: httpx.AsyncClient):
    get(client, "GET", "/fail/field")
    text = get(client, "GET", "/metrics").text
    assert 'route="/fail/{kind}"' in text
    assert "/fail/field" not in text


def test_a_browser_may_read_every_answer_errors_too():
    app = create_app("sample", checks={}, cors=Cors(["https://shop.example"], ["*"], ["x-answer"]))

    @app.get("/fail")
    def fail() -> None:
        raise RuntimeError("secret detail")

    with capture_logs():
        for path, status in (("/healthz", 200), ("/nothing", 404), ("/fail", 500)):
            response = get(open_client(app), "GET", path, headers={"origin": "https://shop.example"})
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == "https://shop.example"
            assert "x-answer" in response.headers["access-control-expose-headers"]


def test_requests_above_the_limit_are_503_and_operations_are_not_limited():
    app = create_app("sample", checks={}, limiter=RequestLimiter(0))
    refused = get(open_client(app), "GET", "/nothing")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert get(open_client(app), "GET", "/healthz").status_code == 200


def test_a_body_that_stops_coming_is_408():
    slow = create_app("sample", checks={}, body_deadline_seconds=0.05)

    @slow.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    async def send() -> int:
        sent = [{"type": "http.request", "body": b"x", "more_body": True}]
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not sent:
                await asyncio.sleep(60)
            return sent.pop()

        async def keep(message: Any) -> None:
            messages.append(message)

        scope = {"type": "http", "method": "POST", "path": "/raw", "headers": [], "query_string": b"", "root_path": ""}
        await slow(scope, receive, keep)
        return int(messages[0]["status"])

    assert asyncio.run(send()) == 408


def away() -> None:
    raise ConnectionError("no broker")


def test_what_all_replicas_miss_is_degraded_and_leaves_the_load_balancer_its_replicas():
    app = create_app("sample", checks={"keys": lambda: None}, outages={"broker": away})
    response = get(open_client(app), "GET", "/readyz")
    assert (response.status_code, response.json()["degraded"]) == (200, ["broker"])
    assert response.json()["checks"] == {"keys": "ok", "broker": "ConnectionError"}
    metrics = get(open_client(app), "GET", "/metrics").text
    assert 'heliotrope_degraded{dependency="broker",service="sample"} 1.0' in metrics


def test_a_replica_that_never_reached_what_it_needs_is_not_ready_and_stays_ready_afterwards():
    answers = [ConnectionError("no broker"), None, ConnectionError("no broker"), ConnectionError("no broker")]

    def reach() -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    app = create_app("sample", checks={"broker": FirstContact(reach)})
    assert [get(open_client(app), "GET", "/readyz").status_code for _ in range(3)] == [503, 200, 200]
