"""`heliotrope keys`: create, list, rotate and revoke API keys."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from cli.database import find_database_url
from cli.errors import clear_errors
from shared.auth import create_key, revoke_key, rotate_key
from shared.signing import derive_public_key, generate_key
from shared.tables.access import ROLES, ApiKey

app = typer.Typer(help="API keys: create, list, rotate, revoke.", no_args_is_help=True)


@contextmanager
def open_session() -> Iterator[Session]:
    engine = create_engine(find_database_url(), connect_args={"connect_timeout": 5})
    try:
        with Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")],
    expires_days: Annotated[
        float | None, typer.Option(min=0, help="Useless after so many days; never by default.")
    ] = None,
) -> None:
    """Make a key and print it, this once: only its hash is stored."""
    expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    with clear_errors(), open_session() as session:
        key = create_key(session, name, role, expires_at)
    sys.stdout.write(f"{key}\n")


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(help="The id that `heliotrope keys list` shows.")],
    grace_minutes: Annotated[float, typer.Option(min=0, help="How long the old secret still opens.")] = 60,
) -> None:
    """Give a key a new secret and print it, this once. Its id stays, and with it what was sent under it."""
    with clear_errors(), open_session() as session:
        key = rotate_key(session, key_id, timedelta(minutes=grace_minutes), datetime.now(UTC))
    sys.stdout.write(f"{key}\n")


@app.command()
def draw() -> None:
    """Draw an Ed25519 key and print its halves: the private one for who signs, the public one for who verifies."""
    private = generate_key()
    sys.stdout.write(f"private {private}\npublic  {derive_public_key(private)}\n")


@app.command("list")
def list_keys() -> None:
    """List every key: id, name, role, since when, until when, and whether it was revoked."""
    table = Table("id", "name", "role", "created", "expires", "revoked", box=None, header_style="bold")
    with clear_errors(), open_session() as session:
        for key in session.scalars(select(ApiKey).order_by(ApiKey.created_at)):
            times = (f"{at:%Y-%m-%d %H:%M}" if at else "" for at in (key.created_at, key.expires_at, key.revoked_at))
            table.add_row(key.key_id, key.name, key.role, *times)
    Console().print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The id that `heliotrope keys list` shows.")]) -> None:
    """Make a key useless; running services notice within seconds."""
    with clear_errors(), open_session() as session:
        revoke_key(session, key_id)
    sys.stdout.write(f"{key_id} is revoked\n")
