"""`heliotrope keys`: create, list, rotate and revoke API keys; rotate what services sign and hash with."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from cli.broker import find_configured_hashes
from cli.database import find_database_url, reach_database, record_if_reached
from cli.errors import clear_errors
from local.errors import StackFailed
from local.secret_rotation import (
    KINDS,
    FolderSecrets,
    LocalSecrets,
    SecretStore,
    add_user_hash_secret,
    describe,
    drop_former,
    rotate_secret,
)
from local.user_hashing import carry_users, count_left
from shared.acts import record_command
from shared.auth import KEY_PATTERN, create_key, revoke_key, rotate_key
from shared.signing import derive_public_key, generate_key
from shared.tables.access import ROLES, ApiKey

INTERNAL, USER_HASH = "internal", "user-hash"
ROTATED = (*KINDS, INTERNAL, USER_HASH)
_RESTART_FOR_USERS = "curator, deployer, evaluator, ingest and gateway"

SecretsFolder = Annotated[
    Path | None, typer.Option("--in", help="The folder of secret files, one for each; else the local stack's.")
]

app = typer.Typer(help="API keys and secrets: create, list, rotate, revoke.", no_args_is_help=True)


def find_secrets(folder: Path | None) -> SecretStore:
    """Find the secrets in a folder, else those of the local stack. Raises: StackFailed: there are none."""
    if folder is not None:
        if not folder.is_dir():
            raise StackFailed(f"{folder} is no folder")
        return FolderSecrets(folder)
    from local.stack.stack import Stack

    path = Stack.find().layout.secrets
    if not path.exists():
        raise StackFailed("no stack was ever started here: give the folder of secret files with --in")
    return LocalSecrets(path)


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
        record_command(session, "create_key", _read_key_id(key), {"name": name, "role": role})
    sys.stdout.write(f"{key}\n")


@app.command()
def rotate(
    target: Annotated[str, typer.Argument(help=f"An API key's id, or one of: {', '.join(ROTATED)}.")],
    grace_minutes: Annotated[float, typer.Option(min=0, help="How long an API key's old secret still opens.")] = 60,
    leaked: Annotated[bool, typer.Option("--leaked", help="Trust the old one no longer, from this moment.")] = False,
    folder: SecretsFolder = None,
) -> None:
    """Replace an API key's secret and print it, this once, or draw anew what services sign or hash with.

    An API key's id stays, and with it what was sent under it.
    """
    grace = timedelta(minutes=0 if leaked else grace_minutes)
    with clear_errors():
        if target == INTERNAL:
            _rotate_internal(find_secrets(folder), grace)
        elif target == USER_HASH:
            later = add_user_hash_secret(find_secrets(folder))
            record_if_reached("rotate_secret", USER_HASH, {"later_secret": later})
            _say(
                f"drawn: later secret number {later}. Restart {_RESTART_FOR_USERS}; nothing changes until then.",
                "Then: heliotrope keys carry-users",
            )
        elif target in KINDS:
            _rotate_kind(target, find_secrets(folder), leaked=leaked)
        else:
            with open_session() as session:
                key = rotate_key(session, target, grace, datetime.now(UTC))
                record_command(session, "rotate_key", target, {"leaked": leaked})
            _say(key)


def _rotate_internal(store: SecretStore, grace: timedelta) -> None:
    """Store the new key for the gateway before the old one ends."""
    known = store.read("gateway_internal_key")
    if (match := KEY_PATTERN.fullmatch(known)) is None:
        raise StackFailed("the gateway's internal key is not here: give the folder that holds it with --in")
    with open_session() as session:
        store.write({"gateway_internal_key": rotate_key(session, match[1], grace, datetime.now(UTC))})
        record_command(session, "rotate_key", match[1], {"name": INTERNAL})
    _say(f"the internal key {match[1]} has a new secret. Restart gateway within {grace}.")


def _rotate_kind(name: str, store: SecretStore, *, leaked: bool) -> None:
    kind = KINDS[name]
    new = rotate_secret(kind, store, leaked=leaked)
    record_if_reached("rotate_secret", name, {"now": new, "leaked": leaked})
    kept = "is trusted no longer" if leaked else f"stays trusted: `heliotrope keys revoke {name}` ends that"
    # who verifies first; after a leak who signs, since nobody who verifies takes anything of before
    steps = reversed(kind.restart) if leaked else kind.restart
    order = f" Restart, one after the other: {'; '.join(steps)}." if kind.restart else ""
    _say(f"{name} is now {new}; the old one {kept}.{order}")
    if name == "backup":
        _say(f"HELIOTROPE_BACKUP_PUBLIC_KEYS={store.read(kind.kept)}")


@app.command("carry-users")
def carry(
    lost: Annotated[
        bool, typer.Option("--lost", help="The secret of before is gone: users begin anew, cut off from their past.")
    ] = False,
    folder: SecretsFolder = None,
) -> None:
    """Hash every stored user once more, with the newest secret: the second half of `rotate user-hash`. May be repeated.

    Consumers wait meanwhile; ingest and chat go on. With --lost the local stack need not run.
    """
    with clear_errors(), reach_database() as url:
        configured = find_configured_hashes(folder)
        changed = carry_users(url, configured, lost=lost)
        record_if_reached("carry_users", USER_HASH, {"secret": len(configured.later), "lost": lost})
        left = 0 if lost else count_left(url, len(configured.later))
    _say(*(f"{rows:>9} {table}" for table, rows in changed.items() if rows))
    _say(f"users are hashed with secret number {len(configured.later)}; {left} still with an older one")


@app.command("secrets")
def list_secrets(folder: SecretsFolder = None) -> None:
    """List what services sign and hash with, by id: in use, and trusted beside that."""
    table = Table("secret", "in use", "trusted beside", "restart", box=None, header_style="bold")
    with clear_errors():
        store = find_secrets(folder)
        for name, kind in KINDS.items():
            used, kept = describe(kind, store)
            table.add_row(name, used or "none", ", ".join(kept), "; ".join(kind.restart))
    Console().print(table)


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
def revoke(
    target: Annotated[str, typer.Argument(help=f"An API key's id, or one of: {', '.join(KINDS)}.")],
    folder: SecretsFolder = None,
) -> None:
    """Make an API key useless, within seconds; or trust nothing any more of what a secret replaced."""
    with clear_errors():
        if target in KINDS:
            dropped = drop_former(KINDS[target], find_secrets(folder))
            record_if_reached("revoke_secret", target, {"dropped": dropped})
            order = "; ".join(KINDS[target].restart)
            _say(f"no longer trusted: {', '.join(dropped) or 'nothing was'}. Restart: {order or 'nothing'}")
            return
        with open_session() as session:
            revoke_key(session, target)
            record_command(session, "revoke_key", target, {})
    _say(f"{target} is revoked")


def _read_key_id(key: str) -> str:
    return key.split("_")[1]


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
