"""A backup of what was decided and what it rests on: databases, datasets, artifacts, the gateway's spool, secrets."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.orm import Session

from local.connections import Connections, derive_mlflow_url
from local.errors import PostgresCannotRun, StackFailed
from local.layout import Layout
from local.servers.postgres import create_database, find_binary
from local.stack.backup_folder import (
    ENCRYPTED,
    HOME_FILES,
    HOME_FOLDERS,
    Sealed,
    copy_plain,
    encrypt,
    seal,
    unseal,
    walk,
)
from local.stack.stack import Stack
from shared.acts import record_command
from shared.signing import Signer, Verifier

FORMAT = 2
NEXT_EPOCH = """
    INSERT INTO deployer.epochs (epoch, reason)
    SELECT greatest(extract(epoch FROM now())::bigint, coalesce(max(epoch), 0) + 1), :reason FROM deployer.epochs
    RETURNING epoch
"""


@dataclass(frozen=True)
class BackupResult:
    """Names of the files, and of those that went away while they were copied."""

    files: list[str]
    vanished: list[str]


def make_backup(
    connections: Connections, layout: Layout, folder: Path, signer: Signer, recipients: Sequence[str] = ()
) -> BackupResult:
    """Write a signed backup into a new folder while everything runs; for `recipients`, encrypted.

    The databases go first: each is one consistent state, and the files that it names are never changed afterwards.

    Raises:
        StackFailed: the folder is not empty, or a database cannot be dumped.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StackFailed(f"{folder} is not empty: a backup is written into a new folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    at = datetime.now(UTC)
    layout.home.mkdir(parents=True, exist_ok=True)
    vanished = []
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=layout.home) as staging:
        put = partial(_put, staging=Path(staging), recipients=recipients)
        for name, url in _list_databases(connections).items():
            put(folder / f"{name}.dump", partial(_dump, url))
        for path in _list_home(layout.home):
            target = folder / "home" / path.relative_to(layout.home)
            try:
                put(target, partial(_copy, path))
            except FileNotFoundError:
                vanished.append(str(path.relative_to(layout.home)))
    seal(folder, {"format": FORMAT, "at": at.isoformat(), "home": str(layout.home)}, signer)
    return BackupResult(sorted(path.relative_to(folder).as_posix() for path in walk(folder)), vanished)


def _put(target: Path, write: Callable[[Path], None], *, staging: Path, recipients: Sequence[str]) -> None:
    """Write a file of the backup; in clear it never stands where the backup does, if that is encrypted."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not recipients:
        write(target)
        return
    clear = staging / "clear"
    try:
        write(clear)
        encrypt(clear, target.with_name(target.name + ENCRYPTED), recipients)
    finally:
        clear.unlink(missing_ok=True)


def _list_home(home: Path) -> Iterator[Path]:
    """Not what SQLite keeps beside a database: its copy has that inside."""
    for part in HOME_FOLDERS:
        yield from (path for path in walk(home / part) if not path.name.endswith(("-wal", "-shm")))
    yield from (home / name for name in HOME_FILES if (home / name).is_file())


def restore_backup(folder: Path, layout: Layout, verifier: Verifier | None, identity: str | None = None) -> datetime:
    """Put a backup back, where nothing is; return when it was made. The embedded Postgres runs meanwhile if it is used.

    Raises:
        StackFailed: the backup is damaged or not to be trusted, or there is something in its place.
    """
    backup = unseal(folder, verifier)
    if backup.manifest["home"] != str(layout.home):
        home = backup.manifest["home"]
        raise StackFailed(f"its tables name files below {home}: restore it with that as HELIOTROPE_HOME")
    if layout.home.exists() and any(layout.home.iterdir()):
        raise StackFailed(f"{layout.home} is not empty: move it away first (after heliotrope down)")
    try:
        _fill(backup, layout, identity)
    except BaseException:
        shutil.rmtree(layout.home, ignore_errors=True)
        raise
    return datetime.fromisoformat(backup.manifest["at"])


def _fill(backup: Sealed, layout: Layout, identity: str | None) -> None:
    for name in backup.list_home_files():
        backup.take(name, layout.home / name.removeprefix("home/").removesuffix(ENCRYPTED), identity)
    layout.home.mkdir(parents=True, exist_ok=True)
    stack = Stack(layout.home, layout.port_base, only=("postgres",))
    stack.up()
    try:
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=layout.home) as clear:
            _restore_databases(backup, stack.connections, Path(clear), identity)
    finally:
        stack.down()


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


def _restore_databases(backup: Sealed, connections: Connections, clear: Path, identity: str | None) -> None:
    ours = connections.database_url
    for name, url in {"heliotrope": ours, "mlflow": derive_mlflow_url(ours)}.items():
        stored = next((file for file in backup.files if file.removesuffix(ENCRYPTED) == f"{name}.dump"), None)
        if stored is None:
            continue
        if "postgres" in connections.embedded:
            create_database(connections.database_server_url, str(make_url(url).database))
        with psycopg.connect(_libpq_url(url), connect_timeout=5) as connection:
            if connection.execute("SELECT to_regclass('alembic_version')").fetchone() != (None,):
                raise StackFailed(f"the database {make_url(url).database} has tables: restore into an empty one")
        dump = clear / f"{name}.dump"
        backup.take(stored, dump, identity)
        options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
        _run_client("pg_restore", url, *options, str(dump))
        if name == "heliotrope":
            begin_epoch(url, "a backup was restored")


def begin_epoch(url: str, reason: str) -> int | None:
    """Begin a new epoch of routing: gateways then take tables that are older than those they know.

    Numbered by the second, so that restoring one backup twice begins two. None where the tables are of release 0.1.0,
    which knows no epochs: run this again after the migration.
    """
    engine = create_engine(url, connect_args={"connect_timeout": 5})
    try:
        with Session(engine) as session, session.begin():
            if session.scalar(text("SELECT to_regclass('deployer.epochs')")) is None:
                return None
            epoch = int(session.execute(text(NEXT_EPOCH), {"reason": reason}).scalar_one())
            if session.scalar(text("SELECT to_regclass('access.acts')")) is not None:
                record_command(session, "begin_epoch", str(epoch), {"reason": reason})
            return epoch
    finally:
        engine.dispose()


def _dump(url: str, target: Path) -> None:
    _run_client("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


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


def _copy(source: Path, target: Path) -> None:
    """A database of SQLite is copied as of one moment, whoever writes it. Nobody else may read the copy.

    Raises:
        FileNotFoundError: it went away meanwhile.
    """
    if source.suffix == ".sqlite" and source.exists():
        with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
        target.chmod(0o600)
    else:
        copy_plain(source, target)


def _libpq_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
