"""`heliotrope backup` and `heliotrope restore`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import clear_errors

console = Console(soft_wrap=True, highlight=False)

Folder = Annotated[Path, typer.Argument(help="The backup's folder.")]


def backup(folder: Folder) -> None:
    """Write a backup into a new folder, while everything runs: databases, datasets, artifacts, spool, secrets."""
    from local.stack.backup import make_backup
    from local.stack.stack import Stack

    with clear_errors():
        stack = Stack.find()
        files = make_backup(stack.connections, stack.layout, folder.absolute())
    console.print(f"{len(files):,} files in {folder}. It holds secrets and users' words: keep it safe.", markup=False)


def restore(folder: Folder) -> None:
    """Put a backup back where nothing is: the home folder must be empty, and the database. Nothing may run."""
    from local.stack.backup import restore_backup
    from local.stack.stack import Stack

    with clear_errors():
        stack = Stack.find()
        at = restore_backup(folder.absolute(), stack.layout)
    console.print(
        f"Restored as of {at:%Y-%m-%d %H:%M:%S} UTC. Users who were erased since are back: erase them again, and then "
        "start (heliotrope up).",
        markup=False,
    )
