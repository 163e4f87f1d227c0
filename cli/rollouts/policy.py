"""`heliotrope approval-policy`: what may be approved without a person, and the switch that stops it."""

from typing import Annotated, Any

import typer

from cli.errors import clear_errors
from cli.rollouts.commands import AsJson, Deployer, Reason, console, print_json
from local.stack.calling import call

PATH = "/v1/approval-policy"

app = typer.Typer(help="What may be approved without a person.", no_args_is_help=True)


@app.command()
def show(deployer: Deployer = "", as_json: AsJson = False) -> None:
    """Show the newest policy, and whether it is in force."""
    with clear_errors():
        _show(call("deployer", deployer, "GET", PATH, "ops"), as_json)


@app.command("set")
def set_policy(
    least_effect: Annotated[float, typer.Option(help="The gate's interval must lie above this.")],
    per_week: Annotated[int, typer.Option(min=1, max=50, help="Approvals of any kind in seven days.")],
    veto_minutes: Annotated[float, typer.Option(min=0, help="From the notice to the approval.")],
    reason: Reason,
    gate: Annotated[str, typer.Option(help="The gate whose effect counts.")] = "win_rate",
    unconfirmed: Annotated[
        bool, typer.Option("--unconfirmed", help="Even if the holdback has not confirmed the champion yet.")
    ] = False,
    deployer: Deployer = "",
    as_json: AsJson = False,
) -> None:
    """Put a policy in force, signed for you."""
    body = {
        "gate": gate,
        "least_effect": least_effect,
        "per_week": per_week,
        "veto_seconds": veto_minutes * 60,
        "needs_confirmation": not unconfirmed,
        "reason": reason,
    }
    with clear_errors():
        _show(call("deployer", deployer, "POST", PATH, "admin", json=body), as_json)


@app.command()
def stop(reason: Reason, deployer: Deployer = "", as_json: AsJson = False) -> None:
    """Put no policy in force, from now on: every candidate waits for a person."""
    with clear_errors():
        _show(call("deployer", deployer, "POST", f"{PATH}/stop", "admin", json={"reason": reason}), as_json)


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    state = f"not in force: {found['not_in_force']}" if found["not_in_force"] else "in force"
    console.print(f"approval policy {found['version']}, {state}", markup=False)
    for name, value in (found["policy"] or {}).items():
        console.print(f"  {name}: {value}", markup=False)
