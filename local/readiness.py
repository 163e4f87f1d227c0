"""Is a port free, is a server ready: cheap checks that raise while the answer is no."""

import socket
import urllib.error
import urllib.request
from collections.abc import Callable


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def answers_tcp(port: int, host: str = "127.0.0.1") -> Callable[[], None]:
    def check() -> None:
        socket.create_connection((host, port), timeout=2).close()

    return check


def answers_http(url: str) -> Callable[[], None]:
    """Ready when a GET answers 2xx."""

    def check() -> None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                pass
        except urllib.error.HTTPError as error:
            body = error.read(500).decode(errors="replace")
            raise ConnectionError(f"{url} answers {error.code} {body}") from None

    return check
