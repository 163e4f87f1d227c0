"""Request bodies, piece by piece."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from shared.errors import MalformedBody, TooManyRequests
from shared.request_body import BodyTooLarge, BodyTooSlow, RequestBodyReader, UnsupportedEncoding


class Pieces:
    """A client that sends these pieces, and then nothing for ever."""

    def __init__(self, *pieces: bytes, ends: bool = True) -> None:
        self._messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": piece, "more_body": not ends or number < len(pieces) - 1}
            for number, piece in enumerate(pieces)
        ]

    async def __call__(self) -> dict[str, Any]:
        if not self._messages:
            await asyncio.sleep(60)
        return self._messages.pop(0)


def make_reader(deadline_seconds: float = 5.0) -> RequestBodyReader:
    return RequestBodyReader(max_bytes=10, max_arriving_bytes=15, deadline_seconds=deadline_seconds)


def read(reader: RequestBodyReader, pieces: Pieces, **headers: str) -> bytes:
    return asyncio.run(reader.read(headers, pieces))


def test_a_body_is_the_sum_of_its_pieces():
    assert read(make_reader(), Pieces(b"{", b"}", b"")) == b"{}"


@pytest.mark.parametrize("pieces", [(b"x" * 11,), (b"x" * 6, b"x" * 6)])
def test_a_body_above_the_bound_is_413_whatever_it_announced(pieces: tuple[bytes, ...]):
    with pytest.raises(BodyTooLarge):
        read(make_reader(), Pieces(*pieces), **{"content-length": "2"})


def test_an_announced_size_above_the_bound_is_413_before_anything_is_read():
    with pytest.raises(BodyTooLarge):
        read(make_reader(), Pieces(), **{"content-length": "11"})


def test_a_body_that_stops_coming_is_408_and_gives_its_bytes_back():
    reader = make_reader(deadline_seconds=0.02)
    for _ in range(3):
        with pytest.raises(BodyTooSlow):
            read(reader, Pieces(b"x", ends=False), **{"content-length": "10"})
    assert read(reader, Pieces(b"{", b"}")) == b"{}"


def test_bodies_that_arrive_together_are_bounded_together():
    async def scenario() -> None:
        reader = make_reader(deadline_seconds=60)
        slow = asyncio.create_task(reader.read({"content-length": "10"}, Pieces(b"x", ends=False)))
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests):
            await reader.read({"content-length": "10"}, Pieces(b"x", b"y"))
        assert await reader.read({"content-length": "2"}, Pieces(b"{}")) == b"{}"
        slow.cancel()

    asyncio.run(scenario())


def test_a_client_that_leaves_is_let_go():
    async def leave() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnect):
        asyncio.run(make_reader().read({}, leave))


@pytest.mark.parametrize("encoding, compress", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_decoded(encoding: str, compress: Callable[[bytes], bytes]):
    reader = RequestBodyReader(max_bytes=100, max_arriving_bytes=100, deadline_seconds=5)
    assert read(reader, Pieces(compress(b'{"value": "up"}')), **{"content-encoding": encoding}) == b'{"value": "up"}'
    with pytest.raises(MalformedBody):
        read(reader, Pieces(compress(b"{}")[:-1]), **{"content-encoding": encoding})
    with pytest.raises(MalformedBody):
        read(reader, Pieces(b"{}"), **{"content-encoding": encoding})


def test_a_bomb_is_413_before_it_is_unpacked():
    reader = RequestBodyReader(max_bytes=100_000, max_arriving_bytes=100_000, deadline_seconds=5)
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(BodyTooLarge):
        read(reader, Pieces(bomb), **{"content-encoding": "gzip"})


def test_another_encoding_is_415():
    with pytest.raises(UnsupportedEncoding):
        read(make_reader(), Pieces(b"{}"), **{"content-encoding": "br"})
    assert read(make_reader(), Pieces(b"{}"), **{"content-encoding": "identity"}) == b"{}"
