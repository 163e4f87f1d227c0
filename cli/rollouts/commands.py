"""What an admin asks of the deployer, from the command line."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import clear_errors
from cli.rollouts.describing import describe_delivery, describe_rollout
from local.errors import StackFailed
from local.stack.calling import call

console = Console(soft_wrap=True, highlight=False)

Deployer = Annotated[
    str, typer.Option("--deployer", help="Its address; with the key in HELIOTROPE_API_KEY. Default: local.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[str, typer.Argument(help="A rollout's id, or as much of its beginning as is unique.")]
Reason = Annotated[str, typer.Option(help="One line, for the audit log.")]


def rollouts(
    rollout: Annotated[str, typer.Argument(help="One of them, in full; without it, the newest.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    deployer: Deployer = "",
    as_json: AsJson = False,
) -> None:
    """List rollouts, newest first, or show one with its guardrails, forecast and deadline."""
    with clear_errors():
        if rollout:
            _show(find_rollout(deployer, rollout), as_json)
            return
        answer = call("deployer", deployer, "GET", f"/v1/rollouts?limit={limit}", "ops")
    found = answer["rollouts"]
    if as_json:
        print_json(found)
        return
    if answer.get("frozen_until"):
        console.print(f"frozen until {answer['frozen_until']}: nothing moves forward before", markup=False)
    table = Table("rollout", "version", "state", "stage", "summary", box=None, header_style="bold")
    for one in found:
        stage = "" if one["stage"] is None else f"{one['stages'][-1]['percent']:g}%"
        table.add_row(one["rollout_id"], one["candidate_version"], one["state"], stage, one["summary"])
    console.print(table)


def approve(
    rollout: Which,
    approval_hash: Annotated[str, typer.Option("--hash", help="The approval hash that you saw.")],
    deployer: Deployer = "",
    as_json: AsJson = False,
) -> None:
    """Let a rollout begin, if what you saw is what there is."""
    with clear_errors():
        found = find_rollout(deployer, rollout)
        body = {"approval_hash": approval_hash}
        _show(
            call("deployer", deployer, "POST", f"/v1/rollouts/{found['rollout_id']}/approve", "admin", json=body),
            as_json,
        )


def reject(rollout: Which, reason: Reason, deployer: Deployer = "", as_json: AsJson = False) -> None:
    """Close a rollout that waits for an approval."""
    _command("reject", rollout, reason, deployer, as_json)


def pause(rollout: Which, reason: Reason, deployer: Deployer = "", as_json: AsJson = False) -> None:
    """Hold a rollout where it is; harm still rolls it back."""
    _command("pause", rollout, reason, deployer, as_json)


def resume(rollout: Which, reason: Reason, deployer: Deployer = "", as_json: AsJson = False) -> None:
    """Let a paused rollout go on."""
    _command("resume", rollout, reason, deployer, as_json)


def abort(rollout: Which, reason: Reason, deployer: Deployer = "", as_json: AsJson = False) -> None:
    """End a rollout; everybody is on the champion again."""
    _command("abort", rollout, reason, deployer, as_json)


def promote(rollout: Which, reason: Reason, deployer: Deployer = "", as_json: AsJson = False) -> None:
    """Make a canary the champion, skipping the stages that are left."""
    _command("promote", rollout, reason, deployer, as_json)


def rollback(
    reason: Reason,
    version: Annotated[str | None, typer.Option(help="An earlier champion; without it, the one before this.")] = None,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Even if its model server does not answer.")] = False,
    deployer: Deployer = "",
    as_json: AsJson = False,
) -> None:
    """Put everybody back on an earlier champion, if it is still served."""
    asked = {"version": version, "unchecked": unchecked}
    body = {"reason": reason} | {name: value for name, value in asked.items() if value}
    with clear_errors():
        table = call("deployer", deployer, "POST", "/v1/rollback", "admin", json=body)
    if as_json:
        print_json(table)
    else:
        console.print(f"Version {table['champion']['version']} is the champion again.", markup=False)


def notices(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 20,
    deployer: Deployer = "",
    as_json: AsJson = False,
) -> None:
    """List what webhooks were told, newest first, and how each delivery went."""
    with clear_errors():
        found = call("deployer", deployer, "GET", f"/v1/notices?limit={limit}", "ops")["notices"]
    if as_json:
        print_json(found)
        return
    for one in found:
        line = f"{one['created_at']}  {one['kind']} to {one['target']}: {describe_delivery(one)}"
        console.print(line, markup=False)


def add_to(app: typer.Typer) -> None:
    """Add these commands to an application."""
    for command in (rollouts, approve, reject, pause, resume, abort, promote, rollback, notices):
        app.command()(command)


def _command(name: str, rollout: str, reason: str, deployer: str, as_json: bool) -> None:
    with clear_errors():
        path = f"/v1/rollouts/{find_rollout(deployer, rollout)['rollout_id']}/{name}"
        _show(call("deployer", deployer, "POST", path, "admin", json={"reason": reason}), as_json)


def find_rollout(deployer: str, beginning: str) -> dict[str, Any]:
    """Return the one rollout, of the newest 200, whose id begins so.

    Raises: StackFailed: none does, or several do.
    """
    found = call("deployer", deployer, "GET", "/v1/rollouts?limit=200", "ops")["rollouts"]
    matching: list[dict[str, Any]] = [one for one in found if one["rollout_id"].startswith(beginning.lower())]
    if len(matching) != 1:
        raise StackFailed(
            f"{len(matching) or 'no'} rollouts begin with {beginning!r}: `heliotrope rollouts` lists them"
        )
    return matching[0]


def _show(rollout: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(rollout)
    else:
        for line in describe_rollout(rollout):
            console.print(line, markup=False)


def print_json(content: Any) -> None:
    """Print what a service answered."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")
