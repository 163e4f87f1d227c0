"""Takes connections to services on an internal network: `python door.py HOST:PORT...`, each on its own port."""

import asyncio
import sys
from contextlib import suppress
from functools import partial

CHUNK = 1 << 16


async def copy(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
    """Copy until either end is closed."""
    with suppress(OSError):
        while chunk := await source.read(CHUNK):
            into.write(chunk)
            await into.drain()
    into.close()


async def connect(host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect one caller with the service; whoever is not there closes the door."""
    try:
        answers, asked = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, asked), copy(answers, writer))


async def serve(*targets: str) -> None:
    for target in targets:
        host, _, port = target.partition(":")
        await asyncio.start_server(partial(connect, host, int(port)), None, int(port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
