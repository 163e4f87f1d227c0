"""`heliotrope recipe` and `heliotrope train`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import clear_errors

app = typer.Typer(help="Check recipes, and read what may be written in one.", no_args_is_help=True)
console = Console(soft_wrap=True, highlight=False)

RecipeFile = Annotated[Path, typer.Argument(help="A recipe, as YAML.")]
Folder = Annotated[Path | None, typer.Option(help="In place of the one that the recipe names.")]
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


def train(
    file: RecipeFile,
    output: Annotated[Path, typer.Option(help="Where the candidate goes; the same command again resumes.")],
    base: Folder = None,
    dataset: Folder = None,
    earlier: Earlier = None,
    threads: Annotated[int, typer.Option(min=0, help="For tensor arithmetic; 0: every core.")] = 0,
) -> None:
    """Train what a recipe says, without the rest of the system. Ctrl-C saves a checkpoint first."""
    from services.trainer.bootstrap.standalone import train_file

    with clear_errors():
        trained = train_file(
            file,
            base=base,
            dataset=dataset,
            earlier=earlier or (),
            output=output,
            threads=threads,
            print_line=lambda line: console.print(line, markup=False),
        )
    console.print(
        f"{trained.summary} after {trained.steps} steps on {trained.pairs} examples ({trained.refused} refused): "
        f"{output / 'candidate'}",
        markup=False,
    )
