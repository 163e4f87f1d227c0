"""`make chat`: a chat page for the running stack, which shows every kind of feedback.

The page's server is what a chat front end's own backend is: it keeps the API key and passes the gateway's answers
through. Feedback goes from the browser straight to ingest, with the token of the answer.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.layout import find_checkout
from local.stack.stack import Stack

MAX_BODY_BYTES = 256_000
TIMEOUT = httpx.Timeout(5.0, read=180.0)


class Protection:
    """Answers are hostile: nothing but the page's own scripts may run, and nothing else may be fetched."""

    def __init__(self, app: ASGIApp, ingest_url: str) -> None:
        self._app = app
        policy = (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' {ingest_url}; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-cache"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, send_protected)


def create_page(gateway_url: str, ingest_url: str, frontend_key: str) -> Starlette:
    """Return the page, for a gateway and an ingest whose CORS list has the page's origin."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=gateway_url, timeout=TIMEOUT, trust_env=False) as client:
            app.state.client = client
            yield

    async def show_config(_: Request) -> Response:
        return JSONResponse({"ingest_url": ingest_url})

    async def complete(request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                return JSONResponse({"error": {"message": "That is too long."}}, 413)
        headers = {"authorization": f"Bearer {frontend_key}", "content-type": "application/json"}
        client: httpx.AsyncClient = request.app.state.client
        asked = client.build_request("POST", "/v1/chat/completions", content=body, headers=headers)
        try:
            answer = await client.send(asked, stream=True)
        except httpx.HTTPError:
            return JSONResponse({"error": {"message": "The gateway cannot be reached."}}, 502)
        return StreamingResponse(_pass_on(answer), answer.status_code, media_type=answer.headers.get("content-type"))

    routes = [
        Route("/", lambda _: RedirectResponse("/demo/")),
        Route("/config.json", show_config),
        Route("/chat/completions", complete, methods=["POST"]),
        Mount("/", StaticFiles(directory=find_checkout() / "clients" / "browser", html=True)),
    ]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(Protection, ingest_url=ingest_url)])


async def _pass_on(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


def main() -> None:
    stack = Stack.find()
    if not stack.is_running():
        sys.exit("the local stack does not run: start it with 'make up'")
    page = create_page(stack.url("gateway"), stack.url("ingest"), stack.credentials["frontend"])
    print(f"talk to the model at {stack.url('chat-page')}  (ends with Ctrl-C)")
    uvicorn.run(page, host="127.0.0.1", port=stack.layout.port("chat-page"), log_level="warning")


if __name__ == "__main__":
    main()
