"""Model servers that speak OpenAI's protocol."""

import asyncio
import io
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import aiohttp
import msgspec

from services.gateway.adapters.breakers import Breakers
from services.gateway.adapters.renewed_session import RenewedSession
from services.gateway.domain.chunks import StreamReader, decode_completion
from services.gateway.domain.completions import make_chunk
from services.gateway.domain.errors import UpstreamFailed
from services.gateway.metrics import UPSTREAM_REQUESTS
from shared.events import Route

Chunks = AsyncGenerator[list[dict[str, Any]], None]
"""Lists of chunks: those of one read from the model server, for one write to the client."""

# Below the five seconds after which uvicorn, and so vLLM, hangs up: a request must not meet a closing connection.
KEEPALIVE_SECONDS = 4.0
# Below the time for which a server that is to end still answers (the chart's drainSeconds).
CONNECTION_SECONDS = 5.0
END_SECONDS = 1.0
LARGE_BODY_BYTES = 2**19
MAX_ANSWER_BYTES = 64 * 2**20
"""Of a whole answer or stream; what a model server writes without end must not fill the memory."""
HUNG_UP = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}

_encode = msgspec.json.Encoder().encode


class Upstream:
    """A client of model servers with a pool of connections; open it in the event loop that uses it."""

    def __init__(
        self,
        breakers: Breakers,
        *,
        max_connections: int,
        connect_timeout_seconds: float,
        answer_timeout_seconds: float,
        idle_timeout_seconds: float,
        stream_timeout_seconds: float,
        api_key: str = "",
    ) -> None:
        self._breakers = breakers
        self._max_connections = max_connections
        reach = {"connect": connect_timeout_seconds, "sock_connect": connect_timeout_seconds}
        self._whole = aiohttp.ClientTimeout(total=answer_timeout_seconds, **reach)
        self._chunks = aiohttp.ClientTimeout(total=stream_timeout_seconds, sock_read=idle_timeout_seconds, **reach)
        self._headers = HEADERS | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        self._endings: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Upstream":
        self._kept = RenewedSession(self._open_session, CONNECTION_SECONDS)
        fresh = aiohttp.TCPConnector(limit=self._max_connections, force_close=True)
        self._fresh_session = aiohttp.ClientSession(connector=fresh, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kept.close()
        await self._fresh_session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        kept = aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=KEEPALIVE_SECONDS)
        return aiohttp.ClientSession(connector=kept, cookie_jar=aiohttp.DummyCookieJar())

    async def complete(self, route: Route, request: dict[str, Any], user: str) -> dict[str, Any]:
        """Return the whole answer to a user's request. Raises: UpstreamFailed."""
        self._breakers.check(route)
        with self._settling(route, user):
            async with self._kept.lend() as session:
                return await self._complete(session, route, request)

    async def _complete(self, session: aiohttp.ClientSession, route: Route, request: dict[str, Any]) -> dict[str, Any]:
        response = await self._send(session, route, request, self._whole)
        return decode_completion(await _read(response), route.version)

    async def stream(self, route: Route, request: dict[str, Any], user: str) -> Chunks:
        """Return the chunks, once the first have come, so that the caller may begin to answer.

        Raises:
            UpstreamFailed: before the first chunk from here, after it from the iteration.
        """
        self._breakers.check(route)
        chunks = self._read_stream(route, request, user)
        first = await anext(chunks)
        return _resume(first, chunks)

    async def _read_stream(self, route: Route, request: dict[str, Any], user: str) -> Chunks:
        with self._settling(route, user):
            async with self._kept.lend() as session, aclosing(self._read_chunks(session, route, request)) as parts:
                async for chunks in parts:
                    yield chunks

    async def _read_chunks(self, session: aiohttp.ClientSession, route: Route, request: dict[str, Any]) -> Chunks:
        response = await self._send(session, route, request, self._chunks)
        if response.content_type == "application/json":
            yield [make_chunk(decode_completion(await _read(response), route.version))]
            return
        reader = StreamReader(route.version)
        try:
            async with aclosing(_iterate(response)) as pieces:
                async for piece in pieces:
                    if chunks := reader.feed(piece):
                        yield chunks
                    if reader.is_done:
                        break
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _describe(error, route) from error
        finally:
            self._release(response, reuse=reader.is_done and reader.failure is None)
        if chunks := reader.finish():
            yield chunks
        if reader.failure is not None:
            raise reader.failure

    @contextmanager
    def _settling(self, route: Route, user: str) -> Iterator[None]:
        """Count what became of a request: answered, failed, or cancelled because its client has left."""
        try:
            yield
        except UpstreamFailed as failure:
            self._settle(route, failure, user)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            self._count(route, "cancelled")
            raise
        self._settle(route, None, user)

    def _settle(self, route: Route, failure: UpstreamFailed | None, user: str) -> None:
        self._count(route, failure.reason if failure else "answered")
        self._breakers.settle(route, failure, user)

    def _count(self, route: Route, outcome: str) -> None:
        UPSTREAM_REQUESTS.labels(route.version, outcome).inc()

    async def _send(
        self,
        session: aiohttp.ClientSession,
        route: Route,
        request: dict[str, Any],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        try:
            try:
                response = await self._post(session, route, request, timeout)
            except HUNG_UP as error:
                if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerTimeoutError):
                    raise
                # most likely a kept connection that the server was just closing: a new one tells
                response = await self._post(self._fresh_session, route, request, timeout)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _describe(error, route) from error
        if response.status == 200:
            return response
        raise UpstreamFailed(
            f"status_{response.status}",
            f"version {route.version} answered {response.status}",
            upstream_status=response.status,
            body=await _read(response),
            retry_after=response.headers.get("retry-after"),
        )

    async def _post(
        self, session: aiohttp.ClientSession, route: Route, request: dict[str, Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        url = f"{route.base_url.rstrip('/')}/chat/completions"
        body = _encode(request)
        data = body if len(body) < LARGE_BODY_BYTES else io.BytesIO(body)  # aiohttp writes it in pieces
        return await session.post(url, data=data, headers=self._headers, timeout=timeout, allow_redirects=False)

    def _release(self, response: aiohttp.ClientResponse, *, reuse: bool) -> None:
        if reuse and not response.content.at_eof():
            self._end_later(response)
        else:
            response.close()

    def _end_later(self, response: aiohttp.ClientResponse) -> None:
        """Read what follows `[DONE]`, so that the connection can be used again; the client need not wait for that."""
        ending = asyncio.create_task(_end(response))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


async def _end(response: aiohttp.ClientResponse) -> None:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            await response.read()
    response.close()


async def _iterate(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes, up to a bound. Raises: UpstreamFailed: it is longer than any answer."""
    length = 0
    async for piece in response.content.iter_any():
        length += len(piece)
        if length > MAX_ANSWER_BYTES:
            raise UpstreamFailed("too_large", f"the answer is longer than {MAX_ANSWER_BYTES:,} bytes")
        yield piece


async def _read(response: aiohttp.ClientResponse) -> bytes:
    try:
        return b"".join([piece async for piece in _iterate(response)])
    except TimeoutError as error:
        raise UpstreamFailed("timeout", "the model server did not answer in time") from error
    except aiohttp.ClientError as error:
        raise UpstreamFailed("broken_off", f"the answer broke off ({type(error).__name__})") from error
    finally:
        response.close()


async def _resume(first: list[dict[str, Any]], rest: Chunks) -> Chunks:
    async with aclosing(rest):
        yield first
        async for chunks in rest:
            yield chunks


def _describe(error: Exception, route: Route) -> UpstreamFailed:
    if isinstance(error, TimeoutError):
        return UpstreamFailed("timeout", f"version {route.version} did not answer in time")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
        return UpstreamFailed("unreachable", f"version {route.version} cannot be reached")
    return UpstreamFailed("broken_off", f"the answer of version {route.version} broke off ({type(error).__name__})")
