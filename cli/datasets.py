"""`heliotrope dataset`: what the frozen datasets hold, and how two of them differ. Reads the folders alone."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import clear_errors
from shared.errors import InvalidRequest, NotFound
from shared.settings import Settings, load_settings

app = typer.Typer(help="Frozen datasets: list, show, compare.", no_args_is_help=True)

Reference = Annotated[str, typer.Argument(help="A dataset's hash, or as much of its beginning as is unique.")]


def find_dataset(reference: str) -> Path:
    """Return the folder of a dataset.

    Raises:
        NotFound: no dataset's hash begins like that.
        InvalidRequest: several do.
    """
    found = [folder for folder in _list_folders() if reference and folder.name.startswith(reference)]
    if not found:
        raise NotFound(f"no dataset in {load_settings(Settings).datasets} begins with {reference!r}")
    if len(found) > 1:
        raise InvalidRequest(f"{len(found)} datasets begin with {reference!r}: say more of the hash")
    return found[0]


def _list_folders() -> list[Path]:
    folders = [file.parent for file in load_settings(Settings).datasets.glob("*/manifest.json")]
    return sorted((folder for folder in folders if not folder.name.startswith(".")), key=_find_age)


def _find_age(folder: Path) -> float:
    return (folder / "manifest.json").stat().st_mtime


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


@app.command("list")
def list_datasets() -> None:
    """List every dataset, oldest first."""
    table = Table("dataset", "after", "train", "validation", "labels", "sft", box=None, header_style="bold")
    with clear_errors():
        for folder in _list_folders():
            manifest = _read_manifest(folder)
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
