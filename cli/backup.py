"""`heliotrope backup` and `heliotrope restore`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.errors import clear_errors
from local.errors import StackFailed
from shared.signing import Signer, Verifier, generate_key

if TYPE_CHECKING:
    from local.layout import Layout

KEY = "HELIOTROPE_BACKUP_KEY"
PUBLIC_KEYS = "HELIOTROPE_BACKUP_PUBLIC_KEYS"

console = Console(soft_wrap=True, highlight=False)

Folder = Annotated[Path, typer.Argument(help="The backup's folder.")]


def backup(
    folder: Folder,
    encrypt_to: Annotated[
        list[str] | None, typer.Option(help="A public key of age (age1...); once for each who may read it.")
    ] = None,
) -> None:
    """Write a signed backup into a new folder, while everything runs: databases, datasets, artifacts, spool, secrets.

    It is signed with HELIOTROPE_BACKUP_KEY, else with backup.key of the home, which is made and never backed up.
    """
    from local.stack.backup import make_backup
    from local.stack.stack import Stack

    with clear_errors():
        stack = Stack.find()
        signer = load_signer(stack.layout)
        result = make_backup(stack.connections, stack.layout, folder.absolute(), signer, encrypt_to or ())
    held = "it is encrypted" if encrypt_to else "it holds secrets and users' words: keep it safe"
    console.print(f"{len(result.files):,} files in {folder}; {held}.", markup=False)
    if result.vanished:
        console.print(f"{len(result.vanished):,} files went away while they were copied.", markup=False)
    console.print(f"Keep this elsewhere, restore asks for it: {PUBLIC_KEYS}={signer.public_key}", markup=False)


def restore(
    folder: Folder,
    public_keys: Annotated[
        str, typer.Option(envvar=PUBLIC_KEYS, help="Who may have signed it: what `backup` printed; comma separated.")
    ] = "",
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Trust whoever could write into the folder.")] = False,
    identity: Annotated[Path | None, typer.Option(help="File with age's private key, if it is encrypted.")] = None,
) -> None:
    """Put a backup back where nothing is: the home folder must be empty, and the database. Nothing may run."""
    from local.stack.backup import restore_backup
    from local.stack.stack import Stack

    with clear_errors():
        verifier = None if unsigned else load_verifier(public_keys)
        secret = read_identity(identity) if identity else None
        at = restore_backup(folder.absolute(), Stack.find().layout, verifier, secret)
    console.print(
        f"Restored as of {at:%Y-%m-%d %H:%M:%S} UTC. Users who were erased since are back: erase them again, and then "
        "start (heliotrope up).",
        markup=False,
    )


def load_signer(layout: "Layout") -> Signer:
    """Return the key that backups are signed with; made on first use.

    Raises:
        StackFailed: it is no key.
    """
    path = layout.home / "backup.key"
    try:
        if key := os.environ.get(KEY):
            return Signer(key)
        if not path.exists():
            layout.home.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{generate_key()}\n")
        return Signer(path.read_text().strip())
    except ValueError as error:
        raise StackFailed(f"{KEY} or {path}: {error}") from error


def load_verifier(public_keys: str) -> Verifier:
    """Load the keys of those whose backups are trusted.

    Raises:
        StackFailed: nobody was named, or not by a key.
    """
    try:
        verifier = Verifier([key.strip() for key in public_keys.split(",") if key.strip()])
    except ValueError as error:
        raise StackFailed(f"{PUBLIC_KEYS}: {error}") from error
    if not verifier:
        raise StackFailed(
            f"who may have signed it? Set {PUBLIC_KEYS} to what `heliotrope backup` printed, or --unsigned"
        )
    return verifier


def read_identity(path: Path) -> str:
    """Return the private key in a file as age-keygen writes it. Raises: StackFailed."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except OSError as error:
        raise StackFailed(f"{path} cannot be read: {error}") from error
    found = next((line for line in lines if line.startswith("AGE-SECRET-KEY-")), None)
    if found is None:
        raise StackFailed(f"{path} holds no private key of age (AGE-SECRET-KEY-...)")
    return found
