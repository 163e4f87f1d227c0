"""Is a port free, is a server ready: cheap checks that raise while the answer is no."""

import contextlib
import socket
import urllib.error
import urllib.request
from collections.abc import Callable

import psutil


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def find_listener(port: int) -> str | None:
    """Name and pid of the process that listens on the port, as far as we may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            is_it = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,)
            if is_it and connection.pid:
                return f"{psutil.Process(connection.pid).name()}, pid {connection.pid}"
    return None


def answers_tcp(port: int, host: str = "127.0.0.1") -> Callable[[], None]:
    def check() -> None:
        socket.create_connection((host, port), timeout=2).close()

    return check


def answers_http(url: str) -> Callable[[], None]:
    """Make a check that passes when a GET answers 2xx."""

    def check() -> None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                pass
        except urllib.error.HTTPError as error:
            body = error.read(500).decode(errors="replace")
            raise ConnectionError(f"{url} answers {error.code} {body}") from None

    return check
