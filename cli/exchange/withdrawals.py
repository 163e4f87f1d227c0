"""`heliotrope imports`: what was imported, and taking an import back as a whole, through the curator's API."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, select
from sqlalchemy.exc import SQLAlchemyError

from cli.database import find_database_url
from cli.errors import clear_errors
from local.errors import StackFailed
from local.stack.calling import call
from shared.tables.erasures import ImportWithdrawal

app = typer.Typer(help="Imports: list them, take one back.", no_args_is_help=True)
console = Console(soft_wrap=True, highlight=False)

Curator = Annotated[
    str, typer.Option("--curator", help="Its address; with the key in HELIOTROPE_API_KEY. Default: local.")
]


@app.command("list")
def list_imports(curator: Curator = "") -> None:
    """List every import of which something is stored, and those that were taken back."""
    with clear_errors():
        found = call("curator", curator, "GET", "/v1/imports", "ops")
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
        done = call("curator", curator, "POST", "/v1/imports/withdrawals", "admin", json={"name": name})
    certificate = done["certificate"] or {}
    console.print(f"Import {name!r} is {done['state']}.", markup=False)
    for kind, count in certificate.get("erased", {}).items():
        console.print(f"  {count:,} {kind}s deleted", markup=False)
    for dataset in certificate.get("datasets", []):
        became = dataset["replaced_by"] or "nothing: no pairs were left"
        console.print(f"  dataset {dataset['dataset_sha256'][:12]} became {became[:12]}", markup=False)
    for model in certificate.get("models", []):
        console.print(f"  model {model['version']} was trained on it", markup=False)


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
