"""TLS in front of servers that have none: the embedded Postgres is built without it, the broker speaks plain TCP."""

import asyncio
import contextlib
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""What a Postgres client asks before it speaks TLS; the server says S for yes."""
TURNS_TO_CLOSE = 3
"""Of the event loop, after which an aborted transport has closed its socket, one of TLS included."""


@dataclass(frozen=True)
class Authority:
    """PEM files: whom clients trust, and what the server shows them."""

    ca_file: Path
    certificate_file: Path
    key_file: Path


def make_authority(folder: Path) -> Authority:
    """A certificate for 127.0.0.1 and localhost that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    files = Authority(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    for path in (files.ca_file, files.certificate_file):
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, plain, none))
    return files


@contextlib.contextmanager
def terminating_tls(authority: Authority, port: int, upstream: int, *, postgres: bool = False) -> Iterator[None]:
    """While the block lasts, `port` speaks TLS and passes on to `upstream` in the clear."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate_file, authority.key_file)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = [writer]
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if postgres:
                    if await reader.readexactly(8) != SSL_REQUEST:
                        return  # a client without TLS is not let in
                    writer.write(b"S")
                    await writer.drain()
                    await writer.start_tls(context)
                answers, asked = await asyncio.open_connection("127.0.0.1", upstream)
                opened.append(asked)
                await asyncio.gather(_pass_on(reader, asked), _pass_on(answers, writer))
        finally:
            for each in opened:
                each.transport.abort()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", port, ssl=None if postgres else context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for _ in range(TURNS_TO_CLOSE):
        await asyncio.sleep(0)
