"""Beside each vLLM: takes an adapter by address, fetches and verifies it onto this disk, and has vLLM load it.

Speaks vLLM's own protocol, so that the deployer sees one kind of replica: what is not about adapters is passed on. It
is ready once vLLM serves what the deployer wants of it: gateways would be told that there is no such model.
"""

import hmac
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.artifacts import Artifacts
from shared.artifacts.models import ADAPTER, is_adapter
from shared.errors import HeliotropeError
from shared.request_body import RequestBodyReader

ANSWER_SECONDS = 120.0
BODY_SECONDS = 20.0
MAX_BODY_BYTES = 16 * 2**20
PASSED_ON = ("models", "chat/completions", "unload_lora_adapter")


class Wanted(msgspec.Struct, frozen=True):
    """What is to be loaded; further members are vLLM's, and stand for nothing here."""

    lora_name: str
    lora_path: str
    content_sha256: str | None = None


class Served(msgspec.Struct, frozen=True):
    """What the deployer wants vLLM to serve, beside its base."""

    lora_names: list[str]


class Model(msgspec.Struct, frozen=True):
    id: str


class Models(msgspec.Struct, frozen=True):
    """What vLLM lists."""

    data: Sequence[Model]


def create_agent(artifacts: Artifacts, vllm_url: str, key: str, memory: Path) -> Starlette:
    """Create the agent's app.

    Args:
        vllm_url: its base URL with `/v1`.
        key: what callers, and vLLM, ask for, if any.
        memory: a file for what the deployer wants, so that a restarted agent knows it.
    """
    client = httpx.AsyncClient(timeout=httpx.Timeout(ANSWER_SECONDS, connect=5.0))
    bodies = RequestBodyReader(
        max_bytes=MAX_BODY_BYTES, max_arriving_bytes=4 * MAX_BODY_BYTES, deadline_seconds=BODY_SECONDS
    )

    def is_known(request: Request) -> bool:
        given = request.headers.get("authorization", "")
        return not key or hmac.compare_digest(given.encode(), f"Bearer {key}".encode())

    async def forward(request: Request) -> Response:
        if not is_known(request):
            return _refuse(401, "an API key is needed")
        path = request.url.path.removeprefix("/v1/")
        try:
            body = await bodies.read(request.headers, request.receive)
        except HeliotropeError as error:
            return _refuse(error.status, error.detail)
        return await _ask(client, request.method, f"{vllm_url}/{path}", key, body)

    async def load(request: Request) -> Response:
        if not is_known(request):
            return _refuse(401, "an API key is needed")
        try:
            wanted = msgspec.json.decode(await bodies.read(request.headers, request.receive), type=Wanted)
            folder = await run_in_threadpool(artifacts.fetch, wanted.lora_path, wanted.content_sha256)
        except (ValueError, RecursionError) as error:
            return _refuse(400, f"lora_name and lora_path are needed: {error}")
        except HeliotropeError as error:
            return _refuse(error.status, error.detail)
        if not is_adapter(folder):
            return _refuse(422, f"{wanted.lora_path} is no adapter")
        body = msgspec.json.encode({"lora_name": wanted.lora_name, "lora_path": str(folder / ADAPTER)})
        return await _ask(client, "POST", f"{vllm_url}/load_lora_adapter", key, body)

    async def remember(request: Request) -> Response:
        if not is_known(request):
            return _refuse(401, "an API key is needed")
        try:
            wanted = msgspec.json.decode(await bodies.read(request.headers, request.receive), type=Served)
        except (ValueError, RecursionError) as error:
            return _refuse(400, f"lora_names is needed: {error}")
        except HeliotropeError as error:
            return _refuse(error.status, error.detail)
        await run_in_threadpool(_write, memory, msgspec.json.encode(wanted))
        return JSONResponse({"status": "ok"})

    async def tell_readiness(_: Request) -> Response:
        if not memory.exists():
            return _refuse(503, "the deployer has not said what it wants served")
        wanted = msgspec.json.decode(memory.read_bytes(), type=Served)
        answer = await _ask(client, "GET", f"{vllm_url}/models", key, b"")
        if answer.status_code != httpx.codes.OK:
            return _refuse(503, "vLLM does not list its models")
        served = {model.id for model in msgspec.json.decode(answer.body, type=Models).data}
        missing = sorted(set(wanted.lora_names) - served)
        return _refuse(503, f"not loaded yet: {', '.join(missing)}") if missing else tell_health(_)

    def tell_health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    passed = [Route(f"/v1/{path}", forward, methods=["GET", "POST"]) for path in PASSED_ON]
    own = [
        Route("/healthz", tell_health),
        Route("/readyz", tell_readiness),
        Route("/v1/load_lora_adapter", load, methods=["POST"]),
        Route("/v1/wanted_adapters", remember, methods=["POST"]),
    ]
    return Starlette(routes=[*own, *passed])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    beside.replace(path)


async def _ask(client: httpx.AsyncClient, method: str, url: str, key: str, body: bytes) -> Response:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        answer = await client.request(method, url, content=body, headers=headers)
    except httpx.HTTPError as error:
        return _refuse(503, f"vLLM does not answer: {type(error).__name__}")
    return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))


def _refuse(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "code": status}}, status)
