"""`heliotrope roles`: a Postgres role for each service."""

from typing import Annotated

import typer
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console

from cli.database import find_database_url
from cli.errors import clear_errors
from local.errors import StackFailed
from local.roles import make_roles
from shared.service_access import DATABASE_ROLES, OWNERS
from shared.settings import load_settings

MIN_PASSWORD = 16

console = Console(soft_wrap=True, highlight=False)


class RoleSettings(BaseSettings):
    """What makes the database's roles and first API keys; no service reads it."""

    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_", extra="ignore", frozen=True)

    role_passwords: dict[str, SecretStr] = Field(
        {}, description='passwords that `heliotrope roles` and `prepare` set, as JSON: {"ingest": "..."}'
    )
    api_keys: dict[str, SecretStr] = Field(
        {}, description='API keys that `heliotrope prepare` stores, as JSON by role: {"frontend": "hk_..."}'
    )
    gateway_internal_key: SecretStr = Field(SecretStr(""), description="the gateway's own, stored by it likewise")


def read_passwords() -> dict[str, str]:
    """Return the passwords by role.

    Raises:
        StackFailed: one is of no role of ours, or short.
    """
    given = load_settings(RoleSettings).role_passwords
    if unknown := sorted(given.keys() - {*DATABASE_ROLES, *OWNERS}):
        raise StackFailed(f"HELIOTROPE_ROLE_PASSWORDS: no role {', '.join(unknown)}")
    passwords = {role: password.get_secret_value() for role, password in given.items()}
    if short := sorted(role for role, password in passwords.items() if len(password) < MIN_PASSWORD):
        raise StackFailed(f"HELIOTROPE_ROLE_PASSWORDS: {', '.join(short)}: at least {MIN_PASSWORD} characters")
    return passwords


def read_given_keys() -> dict[str, str]:
    """Return the API keys, by role, that services and people were told before the database was made."""
    settings = load_settings(RoleSettings)
    given = {role: key.get_secret_value() for role, key in settings.api_keys.items()}
    internal = settings.gateway_internal_key.get_secret_value()
    return given | ({"internal": internal} if internal else {})


def roles(
    names: Annotated[bool, typer.Option("--names", help="Only print what HELIOTROPE_ROLE_PASSWORDS may name.")] = False,
) -> None:
    """Make a Postgres role for each service, with the passwords of HELIOTROPE_ROLE_PASSWORDS. Safe to repeat.

    HELIOTROPE_DATABASE_URL must be a role that may create roles, and owns the tables or is a superuser.
    """
    if names:
        console.print("\n".join([*DATABASE_ROLES, *OWNERS]), markup=False)
        return
    with clear_errors():
        passwords = read_passwords()
        if not passwords:
            raise StackFailed("HELIOTROPE_ROLE_PASSWORDS names no role; `heliotrope roles --names` lists them")
        for name in make_roles(find_database_url(), passwords):
            console.print(name, markup=False)
