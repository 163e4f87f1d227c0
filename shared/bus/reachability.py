"""Which brokers take connections: cheap enough for readiness, and quick where kafka-python blocks for 30 s."""

import socket


def check_broker(bootstrap_servers: str, timeout_seconds: float = 2.0) -> None:
    """Check that one of the brokers takes a connection. Raises: ConnectionError."""
    if all(find_trouble(server, timeout_seconds) for server in bootstrap_servers.split(",")):
        raise ConnectionError(f"no broker answers at {bootstrap_servers}")


def find_trouble(server: str, timeout_seconds: float = 2.0) -> OSError | None:
    """Return why `server`, as host:port, takes no connection; None if it does."""
    host, _, port = server.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_seconds).close()
    except OSError as error:
        return error
    return None
