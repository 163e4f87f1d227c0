"""The environment of `make test-launchers`: Ray and moto beside this project's own packages."""

import os
from pathlib import Path

import pytest


def find_python() -> Path:
    """Find its Python, or skip with what to do."""
    folder = Path(os.environ.get("HELIOTROPE_TEST_LAUNCHERS", ".venv-launchers"))
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no {python}: `make test-launchers` makes it")
    return python
