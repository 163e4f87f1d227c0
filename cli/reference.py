"""The reference of all settings: `python -m cli.reference > docs/configuration.md`."""

import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from cli.doctor.configuration import GROUPS


def render() -> str:
    lines = ["# Configuration", "", "Generated from the settings: `make config-docs`. Lists of numbers are JSON.", ""]
    for group in GROUPS:
        prefix = str(group.model_config.get("env_prefix", ""))
        lines += [f"## {group.__name__}, `{prefix}*`", "", "| variable | default | meaning |", "|---|---|---|"]
        lines += [f"| `{prefix}{name}` | {default} | {meaning} |" for name, default, meaning in list_rows(group)]
        lines.append("")
    return "\n".join(lines)


def list_rows(group: type[BaseSettings]) -> list[tuple[str, str, str]]:
    """Name in capitals, default as one would write it, meaning."""
    return [
        (
            name.upper(),
            _show(field.get_default(call_default_factory=True)),
            (field.description or "").replace("|", "or"),
        )
        for name, field in group.model_fields.items()
    ]


def _show(default: Any) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None or default == "" or default == []:
        return ""
    if isinstance(default, Path) and default.is_absolute():
        return f"`{default.name}/` of the installation"
    return f"`{default}`"


if __name__ == "__main__":
    sys.stdout.write(render())
