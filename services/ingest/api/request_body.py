"""Reading request bodies within bounds: of each body, of all that are arriving at once, and of the time one takes."""

import asyncio
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from shared.errors import HeliotropeError, TooManyRequests


class BodyTooLarge(HeliotropeError):
    status = 413
    title = "Body too large"


class BodyTooSlow(HeliotropeError):
    status = 408
    title = "Body too slow"


class RequestBodyReader:
    """Returns a body that is complete at once without further checks; one in pieces first reserves its bytes."""

    def __init__(self, *, max_bytes: int, max_arriving_bytes: int, deadline_seconds: float) -> None:
        self._max_bytes = max_bytes
        self._free = max_arriving_bytes
        self._deadline_seconds = deadline_seconds

    async def read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """Return the whole body. Raises: BodyTooLarge, BodyTooSlow, TooManyRequests, ClientDisconnect."""
        announced = self._find_length(headers)
        body, more = await self._receive(receive, 0)
        if not more:
            return body
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._read_rest(body, announced, receive)
        except TimeoutError:
            raise BodyTooSlow(f"the body was not there within {self._deadline_seconds:g} s") from None

    def _find_length(self, headers: Mapping[str, str]) -> int:
        """Return what the client announces, else the most that it may send."""
        text = headers.get("content-length", "")
        length = int(text) if text.isascii() and text.isdigit() else self._max_bytes
        if length > self._max_bytes:
            raise self._too_large()
        return length

    async def _read_rest(self, first: bytes, length: int, receive: Receive) -> bytes:
        if length > self._free:
            raise TooManyRequests("too many large bodies arrive at once; try again")
        self._free -= length
        try:
            body, more = bytearray(first), True
            while more:
                piece, more = await self._receive(receive, len(body))
                body += piece
            return bytes(body)
        finally:
            self._free += length

    async def _receive(self, receive: Receive, before: int) -> tuple[bytes, bool]:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece: bytes = message.get("body", b"")
        if before + len(piece) > self._max_bytes:
            raise self._too_large()
        return piece, message.get("more_body", False)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"a body may have at most {self._max_bytes} bytes")
