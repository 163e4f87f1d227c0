"""Reading request bodies within bounds: of each body, of all that are arriving at once, and of the time one takes."""

import asyncio
import zlib
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from shared.errors import HeliotropeError, MalformedBody, TooManyRequests


class BodyTooLarge(HeliotropeError):
    status = 413
    title = "Body too large"


class BodyTooSlow(HeliotropeError):
    status = 408
    title = "Body too slow"


class UnsupportedEncoding(HeliotropeError):
    status = 415
    title = "Unsupported content encoding"


WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""zlib's argument for the encodings that are decoded."""


class RequestBodyReader:
    """Returns a body that is complete at once without further checks; one in pieces first reserves its bytes."""

    def __init__(self, *, max_bytes: int, max_arriving_bytes: int, deadline_seconds: float) -> None:
        self._max_bytes = max_bytes
        self._free = max_arriving_bytes
        self._deadline_seconds = deadline_seconds

    async def read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """Return the whole body, decoded. The names of headers are in lower case.

        Raises: BodyTooLarge, BodyTooSlow, UnsupportedEncoding, MalformedBody, TooManyRequests, ClientDisconnect.
        """
        announced = self._find_length(headers)
        body, more = await self._receive(receive, 0)
        if more:
            body = await self._read_in_time(body, announced, receive)
        encoding = headers.get("content-encoding")
        return self._decompress(body, encoding.strip().lower()) if encoding else body

    def _find_length(self, headers: Mapping[str, str]) -> int:
        """Return what the client announces, else the most that it may send."""
        text = headers.get("content-length", "")
        length = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else self._max_bytes
        if length > self._max_bytes or len(text) >= 19:
            raise self._too_large()
        return length

    async def _read_in_time(self, first: bytes, length: int, receive: Receive) -> bytes:
        """Read on. The server has waited for the first piece (`shared.http_protocol`); a timer costs 20 us."""
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._read_rest(first, length, receive)
        except TimeoutError:
            raise BodyTooSlow(f"the body was not there within {self._deadline_seconds:g} s") from None

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

    def _decompress(self, body: bytes, encoding: str) -> bytes:
        """Decode a body whose decoded size is within the bound too."""
        if encoding in ("", "identity"):
            return body
        if encoding not in WINDOW_BITS:
            raise UnsupportedEncoding("send the body as it is, or with the content encoding gzip or deflate")
        decoder = zlib.decompressobj(WINDOW_BITS[encoding])
        try:
            decoded = decoder.decompress(body, self._max_bytes + 1)
        except zlib.error:
            raise MalformedBody(f"the body is not encoded as {encoding}") from None
        if len(decoded) > self._max_bytes:
            raise self._too_large()
        if not decoder.eof or decoder.unused_data:
            raise MalformedBody(f"the body is not encoded as {encoding}")
        return decoded

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"a body may have at most {self._max_bytes} bytes")
