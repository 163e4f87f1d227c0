"""The lines of docs/operations.md by which the chart is installed, run one by one as their reader would run them."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.containers.engine import run
from tests.kubernetes.cluster import ROOT, say

SECTION = re.compile(r"^## Install with Helm$(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Manual(NamedTuple):
    lines: list[str]
    """Commands, in order."""
    secret: list[str]
    """Names of what the secret `heliotrope` holds, at least."""


def read_manual() -> Manual:
    """Read the section: a block without a language is commands, one of `ini` the secret."""
    (section,) = SECTION.findall((ROOT / "docs" / "operations.md").read_text())
    blocks: dict[str, str] = {}
    for language, text in BLOCK.findall(section):
        blocks[language] = blocks.get(language, "") + text
    lines = [line.split("  #")[0].strip() for line in blocks[""].replace("\\\n", " ").splitlines()]
    names = [line.partition("=")[0] for line in blocks["ini"].splitlines() if "=" in line]
    return Manual([line for line in lines if line], names)


def run_line(line: str, folder: Path, environment: dict[str, str], minutes: float = 16) -> str:
    """Run a line in a shell in `folder`; return what it printed. Raises: AssertionError: it failed."""
    say(f"$ {line}")
    told = run("bash", "-euc", line, cwd=folder, minutes=minutes, env=environment)
    say(told.rstrip())
    return told


def upgrade(*more: str) -> str:
    """Return the line that upgrades the release, by the values of its installation and further ones."""
    (install,) = [line for line in read_manual().lines if line.startswith("helm install")]
    return " ".join([install.replace("helm install", "helm upgrade"), *more, "--wait"])
