"""Checks of the settings: every `HELIOTROPE_*` variable is known, and has a value that its process accepts."""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from cli.doctor.finding import Finding, ok, problem, warning
from cli.roles import RoleSettings
from services.console.settings import ConsoleSettings
from services.curator.config.settings import CuratorSettings, MonitorSettings
from services.deployer.settings import DeployerSettings
from services.evaluator.settings import EvaluatorSettings
from services.gateway.settings import GatewaySettings
from services.ingest.settings import IngestSettings
from services.trainer.settings import TrainerSettings
from shared.settings import Settings, describe_wrong_settings

GROUPS: tuple[type[BaseSettings], ...] = (
    Settings,
    IngestSettings,
    GatewaySettings,
    CuratorSettings,
    MonitorSettings,
    TrainerSettings,
    EvaluatorSettings,
    DeployerSettings,
    ConsoleSettings,
    RoleSettings,
)
OTHERS = {
    "HELIOTROPE_STACK",
    "HELIOTROPE_SECRETS_DIR",
    "HELIOTROPE_BACKUP_KEY",
    "HELIOTROPE_BACKUP_PUBLIC_KEYS",
    "HELIOTROPE_API_KEY",
}
"""Variables that are no settings: what the local stack marks its processes with, and what commands read."""
SECRETS = ("HELIOTROPE_USER_HASH_SECRET", "HELIOTROPE_FEEDBACK_TOKEN_SECRET")


def list_variables() -> set[str]:
    """Return every variable that some process reads."""
    return {
        f"{group.model_config.get('env_prefix', '')}{name}".upper() for group in GROUPS for name in group.model_fields
    }


def check_settings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check `environment`, which is what the processes would see; nothing of its values is repeated, they may be
    secret.
    """
    wrong = list(_find_wrong_values())
    yield from wrong
    known = list_variables() | OTHERS
    strange = sorted(name for name in environment if name.startswith("HELIOTROPE_") and name not in known)
    for name in strange:
        near = difflib.get_close_matches(name, sorted(known), n=1)
        remedy = f"did you mean {near[0]}?" if near else "unset it, or look the name up in the settings"
        yield warning("settings", f"nothing reads {name}", remedy)
    missing = [name for name in SECRETS if not environment.get(name) and not _has_file(name)]
    if missing:
        remedy = "set each to its own long random value, the same for every process, and keep it"
        yield problem("settings", f"not set: {', '.join(missing)}", remedy)
    if not wrong and not strange and not missing:
        yield ok("settings", "every variable is known and valid")


def _has_file(variable: str) -> bool:
    """Whether a file stands for it, in the folder of secrets."""
    folder = os.environ.get("HELIOTROPE_SECRETS_DIR")
    return folder is not None and (Path(folder) / variable.lower()).is_file()


def _find_wrong_values() -> Iterator[Finding]:
    """Of this process's own environment and folder of secrets, which is what settings are read from."""
    for group in GROUPS:
        try:
            group(_secrets_dir=os.environ.get("HELIOTROPE_SECRETS_DIR"))
        except ValidationError as error:
            for line in describe_wrong_settings(group, error):
                yield problem("settings", line, "correct it and start again")
