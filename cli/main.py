"""The `heliotrope` command: the local stack, API keys, migrations, the first champion."""

import contextlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import accounts, audit, datasets, dead_letters, keys, models, recipes, topics
from cli.backup import backup, restore
from cli.broker import find_broker
from cli.database import find_database_url
from cli.errors import clear_errors
from cli.evaluation.commands import evaluate
from cli.exchange import withdrawals
from cli.exchange.commands import import_files
from cli.installing.commands import init, tell_version
from cli.roles import read_given_keys, read_passwords, roles
from cli.rollouts import policy
from cli.rollouts.commands import add_to as add_rollouts
from cli.trying.commands import try_files
from shared.bus.topics import BROKER_DEFAULT

app = typer.Typer(
    help="Heliotrope keeps a chat model turned towards its users.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.app, name="keys")
app.add_typer(accounts.app, name="accounts")
app.add_typer(audit.app, name="audit")
app.add_typer(datasets.app, name="dataset")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(topics.app, name="topics")
app.command("import")(import_files)
app.add_typer(withdrawals.app, name="imports")
app.add_typer(models.app, name="model")
app.command()(init)
app.command()(backup)
app.command()(restore)
app.command()(roles)
app.add_typer(recipes.app, name="recipe")
app.command()(recipes.train)
app.command()(evaluate)
app.command("try")(try_files)
add_rollouts(app)
app.add_typer(policy.app, name="approval-policy")

console = Console(soft_wrap=True, highlight=False)


@app.callback()
def begin(
    version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Heliotrope keeps a chat model turned towards its users."""


@app.command()
def up(
    model: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The folder of the first champion, where none is.")
    ] = None,
) -> None:
    """Start the local stack and wait until a champion serves. What already runs is left alone."""
    from local.stack.stack import Stack

    started = time.monotonic()
    with clear_errors():
        stack = Stack.find(model and model.resolve())
        console.print(f"Starting in {stack.layout.home}, ports from {stack.layout.port_base}", markup=False)
        stack.up(lambda line: console.print(f"  {time.monotonic() - started:5.1f} s  {line}", markup=False))
    for name, place in {
        "chat, OpenAI's protocol": f"{stack.url('gateway')}/v1",
        "feedback": f"{stack.url('ingest')}/v1/feedback",
        "console, for people": stack.url("console"),
        "sign-in keys, by role": stack.layout.accounts,
        "MLflow": stack.url("mlflow"),
        "API keys, by role": stack.layout.credentials,
        "logs": stack.layout.logs,
        **({"Prometheus": f"http://127.0.0.1:{stack.metrics_port}"} if stack.metrics_port else {}),
    }.items():
        console.print(f"  {name:<24} {place}", markup=False)


@app.command()
def down() -> None:
    """Let the consumers catch up and stop every process of the local stack. Its state stays."""
    from local.stack.stack import Stack

    with clear_errors():
        stack = Stack.find()
        stack.down(lambda line: console.print(f"  {line}", markup=False))
    console.print(f"Nothing of {stack.layout.home} runs any more; its state stays.", markup=False)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds.")] = False,
) -> None:
    """Show what runs, how far behind it is, what the loop is doing. Ends with status 1 unless everything is ready."""
    from cli.status import read_status, render_status, watch_status
    from local.stack.stack import Stack

    if as_json and watch:
        raise typer.BadParameter("give --json or --watch, not both")
    with clear_errors():
        stack = Stack.find()
        if watch:
            with contextlib.suppress(KeyboardInterrupt):
                watch_status(lambda: read_status(stack), console)
            return
        found = read_status(stack)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        console.print(render_status(found))
    raise typer.Exit(0 if found["ready"] else 1)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what is wrong, and what to do: settings, connections, topics, schema, clock, disk, versions, keys.

    Changes nothing. Ends with status 1 when there is a problem.
    """
    from cli.doctor.examination import examine, show
    from local.stack.stack import Stack

    findings = []
    with clear_errors():
        for finding in examine(Stack.find()):
            findings.append(finding)
            if not as_json:
                show(finding, console)
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    raise typer.Exit(1 if any(finding.verdict == "problem" for finding in findings) else 0)


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from local.stack.preparation import migrate as upgrade

    with clear_errors():
        upgrade(find_database_url())
    console.print("The database has the newest schema.")


@app.command()
def prepare(
    partitions: topics.Partitions = BROKER_DEFAULT,
    replicas: topics.Replicas = BROKER_DEFAULT,
    acls: Annotated[bool, typer.Option("--acls", help="Grant each service's user in Kafka its rights.")] = False,
    keys: Annotated[
        bool, typer.Option(help="Draw one API key for each role, into credentials.json of the home.")
    ] = True,
) -> None:
    """Prepare all that services need before their first start: topics, the newest schema, database roles where
    HELIOTROPE_ROLE_PASSWORDS names some, API keys (those of HELIOTROPE_API_KEYS, as JSON by role, and
    HELIOTROPE_GATEWAY_INTERNAL_KEY are stored in any case). Safe to repeat."""
    from local.credentials import ensure_keys, store_given_keys
    from local.roles import make_roles
    from local.stack.preparation import record_user_hash_secret
    from shared.settings import Settings, load_settings

    with clear_errors():
        broker = find_broker()
        topics.make_topics(broker, partitions, replicas)
        if acls:
            topics.grant_acls(broker)
    migrate()
    with clear_errors():
        record_user_hash_secret(find_database_url(), load_settings(Settings).user_hash_secret.get_secret_value())
        if passwords := read_passwords():
            make_roles(find_database_url(), passwords)
            console.print(f"Postgres roles: {', '.join(sorted(passwords))}.", markup=False)
    with clear_errors():
        given = read_given_keys()
        store_given_keys(find_database_url(), given)
    if given:
        console.print(f"API keys that were given: {', '.join(sorted(given))}.", markup=False)
    if keys:
        settings = load_settings(Settings)
        with clear_errors():
            ensure_keys(settings.database_url.get_secret_value(), settings.home / "credentials.json", given)
        console.print(f"There is an API key for each role in {settings.home / 'credentials.json'}.", markup=False)


@app.command("begin-epoch")
def begin_epoch(reason: Annotated[str, typer.Argument(help="Why, for the record.")]) -> None:
    """After Postgres was set back by other means than `restore`: have gateways take the older routing tables again."""
    from local.stack.backup import begin_epoch as begin

    with clear_errors():
        epoch = begin(find_database_url(), reason)
    console.print("The schema knows no epochs: run heliotrope migrate first." if epoch is None else f"Epoch {epoch}.")


@app.command()
def adopt(
    model: Annotated[str, typer.Argument(help="A checkpoint's folder or address; with --files a served model's name.")],
    files: Annotated[str | None, typer.Option(help="The address of a served model's files.")] = None,
) -> None:
    """Make a model the first champion. When there is a champion already, nothing happens."""
    from local.stack.preparation import adopt as run_adoption
    from local.stack.stack import Stack

    with clear_errors():
        console.print(run_adoption(model, Stack.find().environment, files), markup=False)


if __name__ == "__main__":
    app()
