"""`heliotrope audit`: who did what, and whether the log of it is as it was written."""

import os
import sys
from typing import Annotated

import typer
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from cli.database import find_database_url
from cli.errors import clear_errors
from cli.rollouts.commands import AsJson, Deployer, console, print_json
from local.errors import StackFailed
from local.stack.calling import call
from services.deployer.domain.audit import ANCHOR_TAG, Anchor, Verification, parse_anchor, verify_chain
from services.deployer.repository.acts import count_unsealed_acts, find_difference
from services.deployer.repository.audit import iterate_audit
from services.deployer.settings import DeployerSettings
from shared.registry.login import log_in_to_mlflow
from shared.settings import Settings, load_settings

app = typer.Typer(help="The log of who did what.", no_args_is_help=True)


@app.callback()
def describe() -> None:
    """Show the log of who did what."""


@app.command()
def verify(
    anchor: Annotated[
        str | None,
        typer.Option(help="SEQUENCE:HASH that the log must hold, from a log line `audit_log_anchored`; else MLflow's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read the whole log; status 1 if an entry was changed, removed, put in or cut off."""
    with clear_errors():
        key = find_audit_key()
        known = parse_anchor(anchor) if anchor else load_anchor()
        found = verify_log(find_database_url(), key, known)
        if found.broken_at is not None:
            raise StackFailed(f"the audit log is broken at entry {found.broken_at}: {found.reason}")
        waiting = check_acts(find_database_url())
    if as_json:
        anchored = {"anchor": str(known) if known else None, "seals_checked": bool(key), "unsealed_acts": waiting}
        print_json({"entries": found.last.sequence, "last": str(found.last)} | anchored)
        return
    told = [f"{found.last.sequence} entries, the last one {found.last}"]
    told += [] if key else ["HELIOTROPE_DEPLOYER_AUDIT_KEY is not set: seals were not checked"]
    told += [f"{waiting} acts of other services are not in it yet: the deployer seals them"] if waiting else []
    told += [] if known else ["no anchor was found: an end that was cut off would not be seen"]
    sys.stdout.write("\n".join(["intact: " + told[0], *told[1:]]) + "\n")


@app.command("list")
def list_entries(
    before: Annotated[int | None, typer.Option(help="Only entries with a smaller number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many.")] = 50,
    deployer: Deployer = "",
    as_json: AsJson = False,
) -> None:
    """List who did what, newest last; whether these entries link, says `verified`."""
    path = f"/v1/audit?limit={limit}" + (f"&before={before}" if before else "")
    with clear_errors():
        log = call("deployer", deployer, "GET", path, "ops")
    if as_json:
        print_json(log)
        return
    for entry in log["entries"]:
        summary = entry["detail"].get("summary", "")
        line = (
            f"{entry['sequence']:>6}  {entry['at']}  {entry['actor']}: {entry['action']} {entry['subject']}  {summary}"
        )
        console.print(line, markup=False)
    if not log["verified"]:
        console.print(f"BROKEN at entry {log['broken_at']}: run `heliotrope audit verify`", markup=False)


def verify_log(database_url: str, key: str, anchor: Anchor | None) -> Verification:
    engine = create_engine(database_url, connect_args={"connect_timeout": 5})
    try:
        with Session(engine) as session:
            return verify_chain(iterate_audit(session), key=key, anchor=anchor)
    finally:
        engine.dispose()


def check_acts(database_url: str) -> int:
    """Hold the log against what other services and commands recorded; return how many acts are not in it yet.

    Raises:
        StackFailed: an act was changed or removed after it was sealed.
    """
    engine = create_engine(database_url, connect_args={"connect_timeout": 5})
    try:
        with Session(engine) as session:
            differences = [
                f"entry {entry.sequence} is intact, but {reason}"
                for entry in iterate_audit(session)
                if (reason := find_difference(session, entry))
            ]
            if differences:
                raise StackFailed("; ".join(differences))
            return count_unsealed_acts(session)
    finally:
        engine.dispose()


def find_audit_key() -> str:
    """Return the setting, else the local stack's; empty if there is none."""
    if configured := load_settings(DeployerSettings).audit_key.get_secret_value():
        return configured
    if os.environ.get("HELIOTROPE_DATABASE_URL") or os.environ.get("HELIOTROPE_SECRETS_DIR"):
        return ""
    from local.stack.stack import Stack

    return Stack.find().secrets.audit_key


def load_anchor() -> Anchor | None:
    """Return the newest anchor, from MLflow; None while it does not answer or has none."""
    from shared.registry.mlflow import MlflowRegistry

    settings = load_settings(Settings)
    log_in_to_mlflow(settings)
    try:
        told = MlflowRegistry(find_tracking_uri(settings), settings.family).load_tag(ANCHOR_TAG)
    except Exception as error:
        sys.stderr.write(f"MLflow does not answer ({type(error).__name__})\n")
        return None
    return parse_anchor(told) if told else None


def find_tracking_uri(settings: Settings) -> str:
    if os.environ.get("HELIOTROPE_MLFLOW_TRACKING_URI") or os.environ.get("HELIOTROPE_SECRETS_DIR"):
        return settings.mlflow_tracking_uri
    from local.stack.stack import Stack

    return Stack.find().connections.mlflow_tracking_uri
