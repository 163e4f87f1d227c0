"""A proxy before a broker, in which it offers no more of Kafka's protocol than an older release did."""

import asyncio
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress

from kafka.protocol.broker_version_data import BROKER_API_VERSIONS

API_VERSIONS = 18
FLEXIBLE_SINCE = 3
"""The version of an ApiVersions answer from which on lengths are varints and there are tagged fields."""

Offered = Mapping[int, tuple[int, int]]


class OlderRelease:
    """Listens at `address` for clients of the broker that `lead_to` names, until closed.

    `refused` is what clients asked for that the release did not know, as (request, version); it also closes their
    connection, as a broker would. `used` is the highest version of each request that was asked for.
    """

    def __init__(self, release: tuple[int, int]) -> None:
        self._offered: Offered = BROKER_API_VERSIONS[release]
        self._broker_port = 0
        self.refused: set[tuple[int, int]] = set()
        self.used: dict[int, int] = {}
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def lead_to(self, broker: str) -> None:
        """Pass clients on to `broker`, which is on this machine."""
        self._broker_port = int(broker.rpartition(":")[2])

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # closed transports let their sockets go in the next turn

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
        asked: dict[int, int] = {}
        answers = asyncio.create_task(self._pass_answers(from_broker, writer, asked))
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, _Refused):
                await self._pass_requests(reader, to_broker, writer, asked)
        finally:
            to_broker.close()
            answers.cancel()
            writer.close()

    async def _pass_requests(
        self,
        reader: asyncio.StreamReader,
        to_broker: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        asked: dict[int, int],
    ) -> None:
        while True:
            frame = await _read_frame(reader)
            request, version, correlation = struct.unpack_from(">hhi", frame)
            if not self._knows(request, version):
                if request != API_VERSIONS:
                    self.refused.add((request, version))
                    raise _Refused
                _write_frame(writer, struct.pack(">ih", correlation, 35) + self._list_offered())
                continue
            self.used[request] = max(version, self.used.get(request, 0))
            if request == API_VERSIONS:
                asked[correlation] = version
            _write_frame(to_broker, frame)
            await to_broker.drain()

    def _knows(self, request: int, version: int) -> bool:
        oldest, newest = self._offered.get(request, (0, -1))
        return oldest <= version <= newest

    def _list_offered(self) -> bytes:
        """What a broker says to a client whose first question it does not understand."""
        entry = struct.pack(">hhh", API_VERSIONS, *self._offered[API_VERSIONS])
        return struct.pack(">i", 1) + entry

    async def _pass_answers(
        self, from_broker: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, int]
    ) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frame = await _read_frame(from_broker)
                (correlation,) = struct.unpack_from(">i", frame)
                if (version := asked.pop(correlation, None)) is not None:
                    frame = frame[:6] + self._narrow(frame[6:], version)
                _write_frame(writer, frame)
                await writer.drain()

    def _narrow(self, body: bytes, version: int) -> bytes:
        """The broker's list of requests, each no newer than the release had it."""
        flexible = version >= FLEXIBLE_SINCE
        count, at = _read_varint(body) if flexible else (struct.unpack_from(">i", body)[0] + 1, 4)
        kept = []
        for _ in range(count - 1):
            request, oldest, newest = struct.unpack_from(">hhh", body, at)
            at += 6 + flexible  # its tagged fields, of which there are none
            newest = min(newest, self._offered.get(request, (0, -1))[1])
            if newest >= oldest:
                kept.append(struct.pack(">hhh", request, oldest, newest) + b"\0" * flexible)
        if not flexible:
            return struct.pack(">i", len(kept)) + b"".join(kept) + body[at:]
        return _write_varint(len(kept) + 1) + b"".join(kept) + body[at : at + 4] + b"\0"


class _Refused(Exception):
    """The release knows no such request."""


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


def _write_frame(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(struct.pack(">i", len(frame)) + frame)


def _read_varint(content: bytes) -> tuple[int, int]:
    """The number, and how many bytes it took."""
    number = shift = at = 0
    while True:
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def _write_varint(number: int) -> bytes:
    content = bytearray()
    while number >= 0x80:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])
