"""A configuration to begin with: every setting with its default, commented out, and what it is for."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from cli.doctor.configuration import GROUPS

HEAD = """# Heliotrope's settings, variables of the environment, each at its default: take a line's # away to change it.
# Have them read by a shell before the command:  set -a; . ./{name}; set +a; heliotrope up
# Secrets may stay out of this file: the local stack draws its own, and `heliotrope doctor` says what is missing.
"""


def render_configuration(name: str) -> str:
    """Render the file, of this name, as POSIX shells read it."""
    parts = [HEAD.format(name=name)]
    for group in GROUPS:
        parts += ["", f"# -- {group.__name__} --", *_list_lines(group)]
    return "\n".join(parts) + "\n"


def _list_lines(group: type[BaseSettings]) -> Iterator[str]:
    prefix = str(group.model_config.get("env_prefix", ""))
    for name, field in group.model_fields.items():
        yield f"# {field.description or name}"
        yield f"#{prefix}{name.upper()}={_write(field.get_default(call_default_factory=True))}"


def _write(default: Any) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, Path) and default.is_absolute():
        return ""  # of this installation: another one has its own
    if isinstance(default, list | tuple):
        is_text = all(isinstance(one, str) for one in default)
        return shlex.quote(",".join(default) if is_text else json.dumps(default)) if default else ""
    return "" if default is None else shlex.quote(str(default)) if default != "" else ""
