"""Which code trained a candidate."""

import subprocess
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[3]


def load_code_version() -> str:
    """The commit of our checkout, else the installed package's version."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    try:
        return metadata.version("heliotrope")
    except metadata.PackageNotFoundError:
        return "unknown"
