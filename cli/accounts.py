"""`heliotrope accounts`: people who sign in."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from cli.errors import clear_errors
from cli.keys import open_session
from shared.accounts import change_role, create_account, disable_account, rotate_account
from shared.acts import record_command
from shared.tables.access import ACCOUNT_ROLES, Account

app = typer.Typer(help="People's accounts: create, list, rotate, change, disable.", no_args_is_help=True)

AccountId = Annotated[str, typer.Argument(help="The id that `heliotrope accounts list` shows.")]
Role = Annotated[str, typer.Option(help=f"One of {', '.join(ACCOUNT_ROLES)}.")]


@app.command()
def create(name: Annotated[str, typer.Argument(help="Theirs alone; it stands in the audit log.")], role: Role) -> None:
    """Make an account and print its sign-in key, this once: only its hash is stored."""
    with clear_errors(), open_session() as session:
        key = create_account(session, name, role)
        record_command(session, "create_account", key.split("_")[1], {"name": name, "role": role})
    sys.stdout.write(f"{key}\n")


@app.command()
def rotate(account_id: AccountId) -> None:
    """Give an account a new sign-in key and print it, this once; the old one opens nothing any more."""
    with clear_errors(), open_session() as session:
        key = rotate_account(session, account_id)
        record_command(session, "rotate_account", account_id, {})
    sys.stdout.write(f"{key}\n")


@app.command()
def role(account_id: AccountId, role: Role) -> None:
    """Give an account another role; running services notice within seconds."""
    with clear_errors(), open_session() as session:
        change_role(session, account_id, role)
        record_command(session, "change_role", account_id, {"role": role})
    sys.stdout.write(f"{account_id} has the role {role}\n")


@app.command()
def disable(account_id: AccountId) -> None:
    """Let an account in nowhere any more; running services notice within seconds."""
    with clear_errors(), open_session() as session:
        disable_account(session, account_id)
        record_command(session, "disable_account", account_id, {})
    sys.stdout.write(f"{account_id} is disabled\n")


@app.command("list")
def list_accounts() -> None:
    """Show every account: id, name, role, since when, and whether it is disabled."""
    table = Table("id", "name", "role", "created", "disabled", box=None, header_style="bold")
    with clear_errors(), open_session() as session:
        for account in session.scalars(select(Account).order_by(Account.created_at)):
            times = (f"{at:%Y-%m-%d %H:%M}" if at else "" for at in (account.created_at, account.disabled_at))
            table.add_row(account.account_id, account.name, account.role, *times)
    Console().print(table)
