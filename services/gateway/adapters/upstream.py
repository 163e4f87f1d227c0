"""Model servers that speak OpenAI's protocol."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from services.gateway.domain.errors import UpstreamFailed
from services.gateway.domain.requests import ChatRequest
from services.gateway.domain.sse import EventParser
from services.gateway.metrics import UPSTREAM_REQUESTS
from shared.events import Route

DONE = b"[DONE]"

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class Upstream:
    """Asks model servers over one pool of connections."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        connect_timeout_seconds: float,
        answer_timeout_seconds: float,
        idle_timeout_seconds: float,
    ) -> None:
        self._client = client
        common = {"connect": connect_timeout_seconds, "write": 30.0, "pool": connect_timeout_seconds}
        self._whole = httpx.Timeout(read=answer_timeout_seconds, **common)
        self._chunks = httpx.Timeout(read=idle_timeout_seconds, **common)

    async def complete(self, route: Route, request: ChatRequest) -> dict[str, Any]:
        """The whole answer. Raises: UpstreamFailed."""
        response = await self._send(route, request, self._whole)
        try:
            body = _decode(await _read(response), route)
        except UpstreamFailed as failure:
            _count(route, failure.reason)
            raise
        _count(route, "answered")
        return body

    async def stream(self, route: Route, request: ChatRequest) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks, the first of which has already come, so that whoever iterates may begin to answer.

        Raises:
            UpstreamFailed: before the first chunk from here, after it from the iteration.
        """
        response = await self._send(route, request, self._chunks)
        chunks = _iterate(response, route)
        try:
            first = await anext(chunks, None)
            if first is None:
                raise UpstreamFailed("empty", f"version {route.version} ended its answer before it began")
        except UpstreamFailed as failure:
            _count(route, failure.reason)
            raise
        _count(route, "answered")
        return _resume(first, chunks)

    async def _send(self, route: Route, request: ChatRequest, timeout: httpx.Timeout) -> httpx.Response:
        url = f"{route.base_url.rstrip('/')}/chat/completions"
        content = _encode(request.body_for(route.model))
        headers = {"content-type": "application/json"}
        try:
            outgoing = self._client.build_request("POST", url, content=content, headers=headers, timeout=timeout)
            response = await self._client.send(outgoing, stream=True)
            if response.status_code == 200:
                return response
            body = await _read(response)
        except httpx.HTTPError as error:
            failure = _describe(error, route)
        except UpstreamFailed as error:
            failure = error
        else:
            failure = UpstreamFailed(
                f"status_{response.status_code}",
                f"version {route.version} answered {response.status_code}",
                upstream_status=response.status_code,
                body=body,
                retry_after=response.headers.get("retry-after"),
            )
        _count(route, failure.reason)
        raise failure


async def _read(response: httpx.Response) -> bytes:
    try:
        return await response.aread()
    except httpx.HTTPError as error:
        raise UpstreamFailed("broken_off", f"the answer broke off ({type(error).__name__})") from error
    finally:
        await response.aclose()


async def _iterate(response: httpx.Response, route: Route) -> AsyncGenerator[dict[str, Any], None]:
    """The chunks of a stream until `[DONE]` or its end."""
    parser = EventParser()
    try:
        async for piece in response.aiter_bytes():
            for data in parser.feed(piece):
                if data == DONE:
                    return
                yield _check_chunk(_decode(data, route), data)
        for data in parser.finish():
            if data != DONE:
                yield _check_chunk(_decode(data, route), data)
    except httpx.HTTPError as error:
        raise _describe(error, route) from error
    finally:
        await response.aclose()


async def _resume(
    first: dict[str, Any], rest: AsyncGenerator[dict[str, Any], None]
) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


def _check_chunk(chunk: dict[str, Any], data: bytes) -> dict[str, Any]:
    if "error" in chunk:
        raise UpstreamFailed("error_in_stream", "the model server failed while it answered", body=data)
    return chunk


def _decode(data: bytes, route: Route) -> dict[str, Any]:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailed("malformed", f"version {route.version} did not answer in JSON") from None


def _describe(error: httpx.HTTPError, route: Route) -> UpstreamFailed:
    if isinstance(error, httpx.TimeoutException):
        return UpstreamFailed("timeout", f"version {route.version} did not answer in time", upstream_status=None)
    if isinstance(error, httpx.ConnectError):
        return UpstreamFailed("unreachable", f"version {route.version} cannot be reached")
    return UpstreamFailed("broken_off", f"the answer of version {route.version} broke off ({type(error).__name__})")


def _count(route: Route, outcome: str) -> None:
    UPSTREAM_REQUESTS.labels(route.version, outcome).inc()
