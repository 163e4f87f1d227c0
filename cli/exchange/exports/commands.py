"""`heliotrope dataset export`, `dataset push` and `model push`."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cli.errors import clear_errors
from cli.exchange.exports.argilla import derive_export
from cli.exchange.exports.dvc import DvcRepository, derive_training_stage
from cli.exchange.exports.writing import HUB, dump_json, push_to_hub, read_files, write_files
from cli.frozen import find_dataset
from local.errors import StackFailed

console = Console(soft_wrap=True, highlight=False)

Target = Literal["huggingface", "argilla", "parquet"]
Dataset = Annotated[str, typer.Argument(help="A dataset's hash, or as much of its beginning as is unique.")]
Repository = Annotated[Path, typer.Option(help="A DVC repository.")]
DvcCommand = Annotated[str, typer.Option("--dvc", help="The dvc to run; best in an environment of its own.")]
NoPush = Annotated[bool, typer.Option("--no-push", help="Track, and push nothing to the remote.")]


def export_dataset(
    dataset: Dataset,
    address: Annotated[str, typer.Argument(help="A folder, s3://..., or for Hugging Face hf://owner/name.")],
    to: Annotated[Target, typer.Option(help="For which tool.")] = "parquet",
) -> None:
    """Export a frozen dataset: for Hugging Face with its card, for Argilla as a dataset on disk, or as Parquet."""
    with clear_errors():
        folder = find_dataset(dataset)
        files, left_out = _list_files(folder, to)
        if address.startswith(HUB):
            if to != "huggingface":
                raise StackFailed(f"{HUB} takes --to huggingface")
            address = push_to_hub(files, address)
        else:
            write_files(files, address)
    console.print(f"{folder.name[:12]} is at {address}: {len(files)} files.", markup=False)
    if left_out:
        console.print(f"{left_out:,} pairs with tools were left out: Argilla shows none.", markup=False)


def _list_files(folder: Path, to: Target) -> tuple[Mapping[str, bytes], int]:
    tables = read_files(folder, "*.parquet")
    if to == "parquet":
        return tables, 0
    if to == "huggingface":
        return {**tables, "README.md": (folder / "README.md").read_bytes()}, 0
    from services.curator.datasets.adapters import read_rows

    rows = read_rows(folder)
    export = derive_export(f"heliotrope-{folder.name[:12]}", [*rows["train"], *rows["validation"]])
    return {name: dump_json(content) for name, content in export.files.items()}, export.left_out


def push_dataset(
    dataset: Dataset, repository: Repository = Path(), dvc: DvcCommand = "dvc", no_push: NoPush = False
) -> None:
    """Track a frozen dataset with DVC as datasets/<hash>, and push it to the repository's remote."""
    with clear_errors():
        folder = find_dataset(dataset)
        repo, place = DvcRepository(repository, dvc), f"datasets/{folder.name}"
        (repository / "datasets").mkdir(exist_ok=True)
        tracked = repo.track(folder, place)
        if not no_push:
            repo.push(f"{place}.dvc")
    console.print(f"{folder.name[:12]} is tracked by {tracked}.", markup=False)


def push_model(
    candidate: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The candidate's folder.")],
    name: Annotated[str, typer.Option(help="What it is called there.")],
    dataset: Annotated[str, typer.Option(help="The dataset that it was trained on: a hash, or its beginning.")],
    recipe: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The recipe.")],
    base: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The model that it was trained from.")],
    repository: Repository = Path(),
    dvc: DvcCommand = "dvc",
    no_push: NoPush = False,
) -> None:
    """Track a candidate with DVC as models/<name>, as the output of a stage that trains it from its dataset."""
    with clear_errors():
        if shlex.quote(name) != name or "/" in name:
            raise StackFailed(f"--name {name!r}: letters, digits, dots, dashes and underscores, please")
        repo, frozen = DvcRepository(repository, dvc), find_dataset(dataset)
        places = {"datasets": frozen, "models": base}
        for kind in (*places, "recipes"):
            (repository / kind).mkdir(exist_ok=True)
        held = {kind: f"{kind}/{folder.name}" for kind, folder in places.items()}
        for kind, folder in places.items():
            repo.track(folder, held[kind])
        written = f"recipes/{name}.yaml"
        (repository / written).write_bytes(recipe.read_bytes())
        repo.place(candidate, f"models/{name}")
        repo.add_stage(f"train-{name}", derive_training_stage(name, held["datasets"], written, held["models"]))
        repo.record(f"train-{name}")
        if not no_push:
            repo.push()
    console.print(f"models/{name} is what stage train-{name} leads to; dvc repro trains it again.", markup=False)
