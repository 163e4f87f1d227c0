"""`heliotrope imports`: what was imported, and taking an import back as a whole, through the curator's API."""

import os
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, select
from sqlalchemy.exc import SQLAlchemyError

from cli.database import find_database_url
from cli.errors import clear_errors
from local.errors import StackFailed
from shared.tables.erasures import ImportWithdrawal

app = typer.Typer(help="Imports: list them, take one back.", no_args_is_help=True)
console = Console(soft_wrap=True, highlight=False)

DEADLINE_SECONDS = 600.0
"""Taking back a large import deletes its rows and replaces datasets."""

Curator = Annotated[
    str, typer.Option("--curator", help="Its address; with the key in HELIOTROPE_API_KEY. Default: local.")
]


@app.command("list")
def list_imports(curator: Curator = "") -> None:
    """List every import of which something is stored, and those that were taken back."""
    with clear_errors():
        found = call(curator, "GET", "/v1/imports", "ops")
    table = Table("import", "answers", "feedback", "taken back", box=None, header_style="bold")
    for one in found["imports"]:
        table.add_row(one["name"], f"{one['answers']:,}", f"{one['feedback']:,}", "")
    for one in found["withdrawals"]:
        table.add_row(one["name"], "", "", f"{one['completed_at'] or one['state']} by {one['requested_by']}")
    console.print(table)


@app.command()
def withdraw(name: Annotated[str, typer.Argument(help="The import's name.")], curator: Curator = "") -> None:
    """Take an import back for ever: its rows go, and datasets that held them are replaced."""
    with clear_errors():
        done = call(curator, "POST", "/v1/imports/withdrawals", "admin", json={"name": name})
    certificate = done["certificate"] or {}
    console.print(f"Import {name!r} is {done['state']}.", markup=False)
    for kind, count in certificate.get("erased", {}).items():
        console.print(f"  {count:,} {kind}s deleted", markup=False)
    for dataset in certificate.get("datasets", []):
        became = dataset["replaced_by"] or "nothing: no pairs were left"
        console.print(f"  dataset {dataset['dataset_sha256'][:12]} became {became[:12]}", markup=False)
    for model in certificate.get("models", []):
        console.print(f"  model {model['version']} was trained on it", markup=False)


def call(curator: str, method: str, path: str, role: str, **options: Any) -> Any:
    """Call the curator: that at the address, else the local stack's, with its key of the role.

    Raises: StackFailed: it cannot be found or reached, or refuses.
    """
    address, key = _find_curator(curator, role)
    try:
        with httpx.Client(base_url=address, timeout=DEADLINE_SECONDS) as client:
            reply = client.request(method, path, headers={"authorization": f"Bearer {key}"}, **options)
    except httpx.HTTPError as error:
        raise StackFailed(f"the curator at {address} cannot be reached: {error}") from None
    if reply.is_error:
        raise StackFailed(f"the curator refuses ({reply.status_code}): {reply.text[:500]}")
    return reply.json()


def _find_curator(curator: str, role: str) -> tuple[str, str]:
    if curator:
        if key := os.environ.get("HELIOTROPE_API_KEY"):
            return curator, key
        raise StackFailed("--curator needs the API key of an admin in HELIOTROPE_API_KEY")
    from local.stack.stack import Stack

    stack = Stack.find()
    if not stack.layout.secrets.exists():
        raise StackFailed("which curator? Say --curator URL, or start the local stack")
    return stack.url("curator"), stack.credentials[role]


def refuse_withdrawn(name: str) -> None:
    """Refuse to import under a name that was taken back: all of it would be dropped. Where no database can be asked,
    nothing is refused.

    Raises: StackFailed: it was taken back.
    """
    try:
        engine = create_engine(find_database_url())
        with engine.connect() as connection:
            known = connection.scalar(select(ImportWithdrawal.name).where(ImportWithdrawal.name == name))
    except (StackFailed, SQLAlchemyError):
        return
    engine.dispose()
    if known is not None:
        raise StackFailed(f"import {name!r} was taken back, and what bears its name is dropped: say another --name")
