"""Where a stack keeps things and which ports it uses. Two stacks differ in both."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from shared.settings import PORT_NUMBERS

DEFAULT_PORT_BASE = 8000
STARTED_WITH = "stack.json"

MARK = "HELIOTROPE_STACK"
"""Every process of a stack inherits this variable; its value is the stack's home."""

OFFSETS = PORT_NUMBERS | {
    "mlflow": 5,
    "model-server": 6,
    "chat-page": 12,
    "postgres": 50,
    "valkey": 51,
    "broker": 52,
    "supervisor": 53,
}
"""Port of each process above the stack's port base."""


def find_checkout() -> Path:
    """Return the folder that holds this package: a clone, or site-packages."""
    return Path(__file__).resolve().parents[1]


def find_home() -> Path:
    """Return `HELIOTROPE_HOME`, else `.heliotrope` in the checkout (in the working folder when not run from one)."""
    configured = os.environ.get("HELIOTROPE_HOME")
    return Path(configured).absolute() if configured else _find_default_home()


def find_base_model() -> Path:
    """Return the chat model that stacks start from: half a gigabyte, made once for all homes of a checkout."""
    return _find_default_home() / "models" / "smollm2-135m-instruct"


def _find_default_home() -> Path:
    checkout = find_checkout()
    root = checkout if (checkout / "pyproject.toml").exists() else Path.cwd()
    return root / ".heliotrope"


def find_port_base(home: Path) -> int:
    """Return `HELIOTROPE_PORT_BASE`, else the one that this home was last started with, else 8000.

    Raises:
        ValueError: not a number from 1024 to 65000.
    """
    configured = os.environ.get("HELIOTROPE_PORT_BASE", "")
    if not configured:
        return read_port_base(home) or DEFAULT_PORT_BASE
    if not configured.isdigit() or not 1024 <= int(configured) <= 65_000:
        raise ValueError(f"HELIOTROPE_PORT_BASE must be a number from 1024 to 65000, not {configured!r}")
    return int(configured)


def read_port_base(home: Path) -> int | None:
    """Return the port base that this home was last started with."""
    started_with = home / STARTED_WITH
    return int(json.loads(started_with.read_text())["port_base"]) if started_with.exists() else None


@dataclass(frozen=True)
class Layout:
    """Paths below `home` and ports above `port_base`."""

    home: Path
    port_base: int = DEFAULT_PORT_BASE

    def port(self, name: str) -> int:
        return self.port_base + OFFSETS[name]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port(name)}"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets.json"

    @property
    def credentials(self) -> Path:
        return self.home / "credentials.json"

    @property
    def accounts(self) -> Path:
        """Sign-in keys of the people that the stack made, by role."""
        return self.home / "accounts.json"

    @property
    def started_with(self) -> Path:
        """What the stack was last started with, for commands that come later."""
        return self.home / STARTED_WITH
