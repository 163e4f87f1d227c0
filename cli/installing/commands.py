"""`heliotrope init` and `heliotrope --version`."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as find_version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import clear_errors
from local.errors import StackFailed

console = Console(soft_wrap=True, highlight=False)
FILE = Path("heliotrope.env")


def init(file: Annotated[Path, typer.Argument(help="A file that is not there yet.")] = FILE) -> None:
    """Write a configuration with every setting at its default, commented out, and what it is for."""
    from cli.installing.configuration import render_configuration

    with clear_errors():
        if file.exists():
            raise StackFailed(f"{file} is there already, and stays as it is: name another file")
        try:
            file.write_text(render_configuration(file.name), encoding="utf-8")
        except OSError as error:
            raise StackFailed(f"{file} cannot be written: {error.strerror}") from None
        file.chmod(0o600)
    console.print(f"{file}: have a shell read it with  set -a; . ./{file.name}; set +a", markup=False)


def tell_version(wanted: bool) -> None:
    """Print the version and end, if it was asked for."""
    if not wanted:
        return
    try:
        own = find_version("heliotrope")
    except PackageNotFoundError:
        own = "of a checkout that was not installed"
    console.print(f"heliotrope {own}, Python {platform.python_version()}", markup=False)
    raise typer.Exit
