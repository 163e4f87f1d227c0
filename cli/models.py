"""`heliotrope model`: candidates, outside the loop."""

import typer

from cli.exchange.exports.commands import push_model

app = typer.Typer(help="Candidates outside the loop.", no_args_is_help=True)
app.command("push")(push_model)


@app.callback()
def _keep_as_a_group() -> None:
    """Candidates outside the loop."""
