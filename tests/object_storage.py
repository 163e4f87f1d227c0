"""A real S3 server for tests: SeaweedFS from its wheel, in a folder of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

KEY, SECRET, BUCKET = "test-key", "test-secret", "heliotrope"
START_SECONDS = 60.0


@dataclass(frozen=True)
class ObjectStorage:
    """A running server; `environment` is what a process needs to reach it."""

    endpoint: str
    process: "subprocess.Popen[bytes]"

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": self.endpoint}

    def options(self, *, key: str = KEY, secret: str = SECRET, endpoint: str | None = None) -> dict[str, Any]:
        """fsspec's options for this server, or for somebody who comes with other credentials or to a wrong door."""
        return {"key": key, "secret": secret, "endpoint_url": endpoint or self.endpoint, "skip_instance_cache": True}


def _find_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def serve_objects(folder: Path) -> Iterator[ObjectStorage]:
    """Serve a bucket from a folder until the block is left."""
    master, volume, filer, s3, admin = _find_ports(5)
    command = [
        *(str(Path(sys.executable).parent / "weed"), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
        *(f"-admin.port={admin}", f"-bucket={BUCKET}", "-webdav=false", "-s3.autoCreateBucket=false"),
    ]
    environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "GOMEMLIMIT": "600MiB"}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | environment, start_new_session=True
        )
    storage = ObjectStorage(f"http://127.0.0.1:{s3}", process)
    try:
        _wait(storage)
        yield storage
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(storage: ObjectStorage) -> None:
    from s3fs import S3FileSystem

    deadline = time.monotonic() + START_SECONDS
    with closing(httpx.Client(timeout=2.0)) as client:
        while time.monotonic() < deadline:
            try:
                client.get(storage.endpoint)
                if S3FileSystem(**storage.options()).exists(BUCKET):
                    return
            except (httpx.HTTPError, OSError):
                pass
            assert storage.process.poll() is None, "the object storage did not start"
            time.sleep(0.2)
    raise AssertionError("the object storage did not answer")
