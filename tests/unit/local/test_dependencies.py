"""What the code imports is what pyproject.toml declares and the lock pins."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[3]
OURS = {"shared", "services", "local", "cli", "tests", "clients", "heliotrope_client", "bench", "recipes"}
COME_WITH = {"billiard": "celery", "tokenizers": "transformers"}
"""Modules of packages that exist to serve another, which is declared in their place."""


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def list_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


def list_third_party() -> dict[str, str]:
    """Module -> one file that imports it."""
    files = [path for folder in sorted(OURS) for path in sorted((ROOT / folder).rglob("*.py"))]
    files = [path for path in files if ROOT / "tests" / "ops" not in path.parents]  # its own environment and lock
    imported = {name: str(path.relative_to(ROOT)) for path in files for name in list_imports(path)}
    return {name: path for name, path in imported.items() if name not in sys.stdlib_module_names | OURS}


def list_declared() -> set[str]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = content["project"]
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *content["dependency-groups"].values(),
    ]
    return {normalize(re.split(r"[\[<>=!; ]", requirement)[0]) for group in groups for requirement in group}


def list_locked() -> dict[str, str]:
    lines = [
        line for name in ("requirements.lock", "requirements-dev.lock") for line in (ROOT / name).read_text().split()
    ]
    return {normalize(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_every_import_is_declared_and_locked():
    distributions = packages_distributions()
    declared, locked = list_declared(), list_locked()
    for module, path in list_third_party().items():
        owners = {normalize(owner) for owner in distributions.get(COME_WITH.get(module, module), [])}
        assert owners & declared, f"{path} imports {module}: declare it in pyproject.toml"
        assert owners & set(locked), f"{path} imports {module}: run make lock"


def test_the_lock_holds_versions_and_nothing_that_names_a_machine_or_an_index():
    for name, version in list_locked().items():
        assert re.fullmatch(r"[a-z0-9-]+", name), name
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), (name, version)


def test_the_lock_pins_what_only_works_at_one_version():
    locked = list_locked()
    assert (locked["trl"], locked["torch"], locked["kafka-python"]) == ("1.12.0", "2.13.0", "3.0.12")
