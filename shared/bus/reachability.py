"""Whether a broker takes connections: cheap enough for readiness, and quick where kafka-python blocks for 30 s."""

import socket


def check_broker(bootstrap_servers: str, timeout_seconds: float = 2.0) -> None:
    """Check that one of the brokers takes a connection. Raises: ConnectionError."""
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_seconds).close()
        except OSError:
            continue
        return
    raise ConnectionError(f"no broker answers at {bootstrap_servers}")
