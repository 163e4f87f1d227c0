"""Beside each vLLM: takes an adapter by address, fetches and verifies it onto this disk, and has vLLM load it.

Speaks vLLM's own protocol, so that the deployer sees one kind of replica: what is not about adapters is passed on.
"""

import hmac

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


def create_agent(artifacts: Artifacts, vllm_url: str, key: str) -> Starlette:
    """Create the agent's app. `vllm_url`: its base URL with `/v1`; `key`: what callers, and vLLM, ask for, if any."""
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

    def tell_health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    passed = [Route(f"/v1/{path}", forward, methods=["GET", "POST"]) for path in PASSED_ON]
    own = [Route("/healthz", tell_health), Route("/v1/load_lora_adapter", load, methods=["POST"])]
    return Starlette(routes=[*own, *passed])


async def _ask(client: httpx.AsyncClient, method: str, url: str, key: str, body: bytes) -> Response:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        answer = await client.request(method, url, content=body, headers=headers)
    except httpx.HTTPError as error:
        return _refuse(503, f"vLLM does not answer: {type(error).__name__}")
    return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))


def _refuse(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "code": status}}, status)
