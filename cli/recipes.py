"""`heliotrope recipe` and `heliotrope train`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import clear_errors

app = typer.Typer(help="Check recipes, and read what may be written in one.", no_args_is_help=True)
console = Console(soft_wrap=True, highlight=False)

RecipeFile = Annotated[Path, typer.Argument(help="A recipe, as YAML.")]
Folder = Annotated[Path | None, typer.Option(help="In place of the one that the recipe names.")]
Place = Annotated[str | None, typer.Option(help="A folder or an address, in place of the one that the recipe names.")]
Pin = Annotated[
    str | None, typer.Option(help="With an address as output: what the manifest of that artifact must hash to.")
]
Earlier = Annotated[
    list[Path] | None, typer.Option(help="An earlier snapshot to replay; again for each one, newest first.")
]


@app.command()
def check(file: RecipeFile) -> None:
    """Explain every mistake of a recipe. Ends with status 1 when there is one."""
    from services.trainer.adapters.artifacts.recipe_files import load_recipe_file
    from services.trainer.domain.recipe.parsing import calculate_recipe_sha256
    from services.trainer.domain.recipe.reference import explain_mistake
    from shared.errors import InvalidRequest

    with clear_errors():
        try:
            recipe = load_recipe_file(file)
        except InvalidRequest as error:
            if not error.errors:
                raise
            for mistake in error.errors:
                explanation = explain_mistake(mistake.field, mistake.message)
                console.print(f"{mistake.field}: {mistake.message} ({explanation})", markup=False)
            raise typer.Exit(1) from error
    stages = recipe.stages or (recipe,)
    extent = "steps that follow from the data"
    if all(stage.max_steps and stage.passes is None for stage in stages):
        examples = sum(stage.steps * stage.batch_size * stage.gradient_accumulation_steps for stage in stages)
        extent = f"{recipe.steps} steps, {examples} examples"
    console.print(
        f"{recipe.name}: {recipe.method}, {extent}, hash {calculate_recipe_sha256(recipe)[:12]}. No mistakes.",
        markup=False,
    )


@app.command()
def plan(
    file: RecipeFile,
    base: Folder = None,
    devices: Annotated[int, typer.Option(min=0, help="GPUs to plan for; 0: what this machine has.")] = 0,
    memory_gib: Annotated[float, typer.Option(min=0.1, help="Free memory of each of these GPUs.")] = 80.0,
) -> None:
    """Estimate a run's memory on each device, and what `strategy: auto` would choose. Status 1: it does not fit."""
    from services.trainer.bootstrap.standalone import plan_file

    with clear_errors():
        lines, fits = plan_file(file, base=base, gpus=devices, memory_gib=memory_gib)
    for line in lines:
        console.print(line, markup=False)
    if not fits:
        raise typer.Exit(1)


@app.command()
def hire(
    model: Annotated[str, typer.Argument(help="A published shape, such as llama-70b, or a checkpoint's folder.")],
    method: Annotated[str, typer.Option(help="dpo or ppo.")] = "dpo",
    tuning: Annotated[str, typer.Option(help="full or lora.")] = "lora",
    machine: Annotated[str, typer.Option(help="The kind of machine.")] = "p5.48xlarge",
    hourly: Annotated[float | None, typer.Option(help="What it costs an hour, in place of a list price.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Pairs for dpo, prompts for ppo.")] = 10_000,
    length: Annotated[int, typer.Option(min=1, help="Tokens of a prompt with one answer.")] = 1024,
    passes: Annotated[float, typer.Option(min=0.1, help="Over the rows.")] = 2.0,
    offload: Annotated[str, typer.Option(help="none, optimizer or all.")] = "none",
) -> None:
    """Say which machines a run on a large model needs: how many, for how long, at what cost. Status 1: none hold it."""
    from services.trainer.bootstrap.hiring import plan_hire

    with clear_errors():
        lines, is_possible = plan_hire(
            model, method=method, tuning=tuning, machine=machine, hourly=hourly,
            rows=rows, length=length, passes=passes, offload=offload,
        )  # fmt: skip
    for line in lines:
        console.print(line, markup=False)
    if not is_possible:
        raise typer.Exit(1)


@app.command()
def suggest(
    dataset: Annotated[Path, typer.Argument(help="The folder of a frozen dataset.")],
    base: Annotated[
        Path | None, typer.Option(help="The model to train; without it lengths are left to the run.")
    ] = None,
    devices: Annotated[int, typer.Option(min=0, help="GPUs to plan for; 0: what this machine has.")] = 0,
    memory_gib: Annotated[float, typer.Option(min=0.1, help="Free memory of each of these GPUs.")] = 80.0,
) -> None:
    """Write a recipe for a dataset to the standard output, with the reason for each setting as a comment."""
    from services.trainer.bootstrap.suggestion import suggest_recipe

    with clear_errors():
        sys.stdout.write(suggest_recipe(dataset, base=base, gpus=devices, memory_gib=memory_gib))


@app.command()
def reference() -> None:
    """Print every field with what is allowed, its default and the reason for it: docs/recipes.md."""
    from services.trainer.domain.recipe.reference import render_reference

    sys.stdout.write(render_reference())


@contextmanager
def exit_for_peers() -> Iterator[None]:
    """Exit with a status of its own where another machine may be the cause."""
    from services.trainer.domain.launching.endings import LOST_PEER, PeerLost

    try:
        yield
    except PeerLost as error:
        console.print(error.detail, markup=False)
        raise typer.Exit(LOST_PEER) from error


def train(
    file: Annotated[str, typer.Argument(help="A recipe, as YAML: a file, or its address.")],
    output: Annotated[
        str, typer.Option(help="Where the candidate goes, a folder or an address; the same command again resumes.")
    ],
    base: Place = None,
    dataset: Place = None,
    earlier: Earlier = None,
    threads: Annotated[int, typer.Option(min=0, help="For tensor arithmetic; 0: every core.")] = 0,
    base_sha256: Pin = None,
    dataset_sha256: Pin = None,
    recipe_sha256: Pin = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(help="A public key that seals this run's checkpoints; launchers give it, and no other is taken."),
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="With an address as output: the number of this start; launchers give it.")
    ] = None,
    max_seconds: Annotated[
        int | None,
        typer.Option(min=1, help="With an address as output: the machine's time; what it learned is stored before."),
    ] = None,
) -> None:
    """Train what a recipe says, without the rest of the system. Ctrl-C saves a checkpoint first.

    With an address as output (s3://, gs://, file://) everything may come from addresses, and checkpoints, candidate
    and outcome go there: what launchers start on other machines.
    """
    from services.trainer.bootstrap.addressed import Places, is_address, train_by_address
    from services.trainer.bootstrap.standalone import train_file
    from services.trainer.domain.launching.orders import Pinned

    def print_line(line: str) -> None:
        console.print(line, markup=False)

    with clear_errors(), exit_for_peers():
        if is_address(output):
            places = Places(
                recipe=Pinned(file, recipe_sha256),
                base=base,
                base_sha256=base_sha256,
                dataset=dataset,
                dataset_sha256=dataset_sha256,
                output=output,
            )
            trained = train_by_address(
                places,
                attempt=attempt,
                max_seconds=max_seconds,
                trusted=trust or (),
                threads=threads,
                print_line=print_line,
            )
        else:
            trained = train_file(
                Path(file),
                base=Path(base) if base else None,
                dataset=Path(dataset) if dataset else None,
                earlier=earlier or (),
                output=Path(output),
                threads=threads,
                print_line=print_line,
            )
    where = output if is_address(output) else Path(output) / "candidate"
    console.print(
        f"{trained.summary} after {trained.steps} steps on {trained.pairs} examples ({trained.refused} refused): "
        f"{where}",
        markup=False,
    )
