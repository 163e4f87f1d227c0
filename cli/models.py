"""`heliotrope model`: candidates, outside the loop."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import clear_errors
from cli.exchange.exports.commands import push_model

app = typer.Typer(help="Candidates outside the loop.", no_args_is_help=True)
app.command("push")(push_model)
console = Console(soft_wrap=True, highlight=False)


@app.command()
def merge(
    source: Annotated[str, typer.Argument(help="An adapter: its folder or its address, as the registry has it.")],
    target: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
) -> None:
    """Write an adapter and its base as one checkpoint of whole weights, which anything loads."""
    from shared.artifacts import open_artifacts
    from shared.errors import Conflict
    from shared.settings import Settings, load_settings

    with clear_errors():
        if target.exists():
            raise Conflict(f"{str(target)!r} exists: give another folder")
        folder = open_artifacts(load_settings(Settings)).fetch_model(source)
        from services.trainer.adapters.methods.models import merge_model  # loads torch

        weights_sha256 = merge_model(folder, target)
    console.print(f"{target}: weights {weights_sha256}", markup=False)


@app.command()
def place(
    source: Annotated[str, typer.Argument(help="A base model: its folder or address, as `adopt` takes it.")],
    target: Annotated[Path, typer.Argument(help="A folder that is not there yet, which vLLM will read.")],
    content_sha256: Annotated[str | None, typer.Option(help="What its manifest must hash to.")] = None,
) -> None:
    """Copy a base model, verified, to where vLLM reads it, and print what each start of vLLM is held against."""
    from local.models.placing import place_model
    from shared.artifacts import open_artifacts
    from shared.artifacts.models import explain_unloadable, is_adapter
    from shared.errors import Conflict, InvalidRequest
    from shared.settings import Settings, load_settings

    with clear_errors():
        if target.exists():
            raise Conflict(f"{str(target)!r} exists: give another folder")
        folder = open_artifacts(load_settings(Settings)).fetch(source, content_sha256, unlisted=content_sha256 is None)
        problem = "it is an adapter" if is_adapter(folder) else explain_unloadable(folder)
        if problem:
            raise InvalidRequest(f"{source} is no base model: {problem}")
        sums = place_model(folder, target)
    console.print(f"HELIOTROPE_BASE_FILES={target.absolute()}\nHELIOTROPE_BASE_SUMS={sums}", markup=False)
