"""Is a broker there at all? kafka-python blocks for thirty seconds, and leaks sockets, before it says no."""

import socket


def check_any_answers(bootstrap_servers: str, timeout_seconds: float = 2.0) -> None:
    """Raises: ConnectionError, when none takes a connection."""
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_seconds).close()
        except OSError:
            continue
        return
    raise ConnectionError(f"no broker answers at {bootstrap_servers}")
