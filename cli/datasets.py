"""`heliotrope dataset`: what the frozen datasets hold, and how two of them differ. Reads the folders alone."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import clear_errors
from cli.exchange.exports.commands import export_dataset, push_dataset
from cli.frozen import find_dataset, list_folders, read_manifest
from cli.keys import open_session

app = typer.Typer(help="Frozen datasets: list, show, compare.", no_args_is_help=True)
app.command("export")(export_dataset)
app.command("push")(push_dataset)

Reference = Annotated[str, typer.Argument(help="A dataset's hash, or as much of its beginning as is unique.")]


@app.command("list")
def list_datasets() -> None:
    """List every dataset, oldest first."""
    table = Table("dataset", "after", "train", "validation", "labels", "sft", box=None, header_style="bold")
    with clear_errors():
        for folder in list_folders():
            manifest = read_manifest(folder)
            counts = [str(manifest["counts"][name]) for name in ("train", "validation", "labels", "sft")]
            table.add_row(folder.name[:12], (manifest.get("parent_dataset") or "")[:12], *counts)
    Console().print(table)


@app.command()
def show(dataset: Reference) -> None:
    """Show the dataset's card."""
    with clear_errors():
        card = (find_dataset(dataset) / "README.md").read_text()
    typer.echo(card.split("---\n", 2)[-1])


@app.command()
def report(
    dataset: Reference,
    to: Annotated[Path | None, typer.Option(help="Write the page there; else its figures are printed.")] = None,
    texts: Annotated[bool, typer.Option(help="With what users wrote, from the database: for admins.")] = False,
) -> None:
    """Show what came in, what was kept, and what was not and why: a page, or JSON."""
    with clear_errors():
        folder = find_dataset(dataset)
        if to is None:
            typer.echo((folder / "meta" / "report.json").read_text())
            return
        to.write_text(_show_with_texts(folder.name) if texts else (folder / "meta" / "report.html").read_text())
    typer.echo(f"written to {to}")


def _show_with_texts(dataset_sha256: str) -> str:
    from services.curator.datasets.handlers import show_report

    with open_session() as session:
        return show_report(session, dataset_sha256)


@app.command()
def diff(
    before: Reference, after: Reference, ids: Annotated[bool, typer.Option(help="Name every pair and label.")] = False
) -> None:
    """Show what came and what went from one dataset to another, and why."""
    from services.curator.datasets.adapters import read_selection_log
    from services.curator.datasets.domain.selection_log import derive_diff

    with clear_errors():
        found = derive_diff(read_selection_log(find_dataset(before)), read_selection_log(find_dataset(after)))
    table = Table("", "kind", "rule", "why", "count", box=None, header_style="bold")
    for sign, changes in (("+", found.came), ("-", found.went)):
        for (kind, rule, why), count in found.count(changes).items():
            table.add_row(sign, kind, rule, why, str(count))
    Console().print(table)
    typer.echo(f"{found.kept} stayed, {found.reweighed} of them with another weight or in another file")
    if ids:
        for sign, changes in (("+", found.came), ("-", found.went)):
            for change in changes:
                typer.echo(f"{sign} {change.id} {change.kind} {change.rule}: {change.why}")
