"""A backup of what was decided and what it rests on: databases, datasets, artifacts, the gateway's spool, secrets."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from local.connections import Connections, derive_mlflow_url
from local.errors import PostgresCannotRun, StackFailed
from local.layout import Layout
from local.servers.postgres import create_database, find_binary
from local.stack.stack import Stack

FOLDERS = ("datasets", "mlartifacts", "gateway")
FILES = ("secrets.json", "credentials.json")
MANIFEST = "manifest.json"
"""Written last: a folder without it is no backup."""


def make_backup(connections: Connections, layout: Layout, folder: Path) -> list[str]:
    """Write a backup into a new folder while everything runs; what it holds.

    The databases go first: each is one consistent state, and the files that it names are never changed afterwards.

    Raises:
        StackFailed: the folder is not empty, or a database cannot be dumped.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StackFailed(f"{folder} is not empty: a backup is written into a new folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, url in _list_databases(connections).items():
        _run_client("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={folder / name}.dump")
    for part in FOLDERS:
        for path in _list_files(layout.home / part):
            _copy(path, folder / "home" / path.relative_to(layout.home))
    for name in FILES:
        if (layout.home / name).exists():
            _copy(layout.home / name, folder / "home" / name)
    files = {str(path.relative_to(folder)): _hash(path) for path in _list_files(folder)}
    manifest = {"format": 1, "at": datetime.now(UTC).isoformat(), "home": str(layout.home), "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return sorted(files)


def restore_backup(folder: Path, layout: Layout) -> datetime:
    """Put a backup back, where nothing is; when it was made. The embedded Postgres runs meanwhile if it is used.

    Raises:
        StackFailed: the backup is damaged, or there is something in its place.
    """
    manifest = read_manifest(folder)
    if manifest["home"] != str(layout.home):
        raise StackFailed(f"its tables name files below {manifest['home']}: restore it with that as HELIOTROPE_HOME")
    if layout.home.exists() and any(layout.home.iterdir()):
        raise StackFailed(f"{layout.home} is not empty: move it away first (after heliotrope down)")
    try:
        _fill(folder, layout)
    except BaseException:
        shutil.rmtree(layout.home, ignore_errors=True)
        raise
    return datetime.fromisoformat(manifest["at"])


def _fill(folder: Path, layout: Layout) -> None:
    for path in _list_files(folder / "home"):
        _copy(path, layout.home / path.relative_to(folder / "home"))
    stack = Stack(layout.home, layout.port_base, only=("postgres",))
    stack.up()
    try:
        _restore_databases(folder, stack.connections)
    finally:
        stack.down()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, once every file has been found to be what it says.

    Raises:
        StackFailed: naming the files that are missing or changed.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        files = dict(manifest["files"])
    except (OSError, ValueError, KeyError) as error:
        raise StackFailed(f"{folder} holds no complete backup: {MANIFEST} cannot be read") from error
    wrong = [name for name, digest in files.items() if not (folder / name).exists() or _hash(folder / name) != digest]
    if wrong:
        raise StackFailed(f"the backup is damaged: {', '.join(wrong[:5])}")
    return manifest


def _list_databases(connections: Connections) -> dict[str, str]:
    """Ours, and MLflow's when its server is part of the stack; an MLflow of your own has a backup of its own."""
    found = {"heliotrope": connections.database_url}
    mlflow = derive_mlflow_url(connections.database_url)
    if "mlflow" in connections.embedded and _exists(mlflow, connections.database_url):
        found["mlflow"] = mlflow
    return found


def _exists(url: str, neighbour: str) -> bool:
    try:
        with psycopg.connect(_libpq_url(neighbour), connect_timeout=5) as connection:
            name = make_url(url).database
            return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None
    except psycopg.OperationalError as error:
        raise StackFailed(f"the database does not answer: {str(error).strip()}") from error


def _restore_databases(folder: Path, connections: Connections) -> None:
    ours = connections.database_url
    for name, url in {"heliotrope": ours, "mlflow": derive_mlflow_url(ours)}.items():
        dump = folder / f"{name}.dump"
        if not dump.exists():
            continue
        if "postgres" in connections.embedded:
            create_database(connections.database_server_url, str(make_url(url).database))
        with psycopg.connect(_libpq_url(url), connect_timeout=5) as connection:
            if connection.execute("SELECT to_regclass('alembic_version')").fetchone() != (None,):
                raise StackFailed(f"the database {make_url(url).database} has tables: restore into an empty one")
        options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
        _run_client("pg_restore", url, *options, str(dump))


def _run_client(name: str, url: str, *arguments: str) -> None:
    """The password goes through the environment: everyone on the machine can read arguments."""
    parsed = make_url(url)
    where = _libpq_url(parsed.set(password=None).render_as_string(hide_password=False))
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "10"}
    if parsed.password:
        environment["PGPASSWORD"] = str(parsed.password)
    command = [_find_client(name), f"--dbname={where}", *arguments]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        raise StackFailed(f"{name} failed: {said.stderr.strip()}")


def _find_client(name: str) -> str:
    """The embedded one if it is installed; a client must not be older than its server."""
    try:
        return find_binary(name)
    except PostgresCannotRun:
        if (path := shutil.which(name)) is None:
            raise StackFailed(f"{name} is not installed: it comes with PostgreSQL's client programs") from None
        return path


def _list_files(folder: Path) -> Iterator[Path]:
    """Not what SQLite keeps beside a database: its copy has that inside."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(("-wal", "-shm")):
            yield path


def _copy(source: Path, target: Path) -> None:
    """A database of SQLite is copied as of one moment, whoever writes it. Nobody else may read the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".sqlite":
        with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
    else:
        shutil.copyfile(source, target)
    target.chmod(0o600)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _libpq_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
