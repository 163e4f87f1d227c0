"""The machine and the packages that a candidate was made with."""

import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path


def save_environment(folder: Path) -> Path:
    """Leave `requirements.txt` (every installed package) and `machine.json` in the folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = {f"{one.name}=={one.version}" for one in metadata.distributions()}
    (folder / "requirements.txt").write_text("\n".join(sorted(packages, key=str.lower)) + "\n", encoding="utf-8")
    machine = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "devices": list_devices(),
        **{name: find_version(name) for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets")},
    }
    (folder / "machine.json").write_text(json.dumps(machine, indent=2) + "\n", encoding="utf-8")
    return folder


def list_devices() -> list[str]:
    """List the names of the GPUs, or the processor's."""
    import torch

    if torch.cuda.is_available():
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [f"cpu ({platform.machine()})"]


def find_version(name: str) -> str | None:
    """Find the version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


ROOT = Path(__file__).parents[3]


def load_code_version() -> str:
    """Load the commit of our checkout, else the installed package's version."""
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
