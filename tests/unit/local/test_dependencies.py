"""What the code imports is what pyproject.toml declares and the lock pins."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from local.development.locking import LEARNING, list_image

ROOT = Path(__file__).parents[3]
OURS = {"shared", "services", "local", "cli", "tests", "clients", "heliotrope_client", "bench", "recipes"}
OF_THEIR_OWN = {
    ROOT / "tests" / "ops",
    ROOT / "tests" / "production" / "samples",
    ROOT / "tests" / "kubernetes" / "helm.py",
    ROOT / "services" / "trainer" / "adapters" / "launching" / "ray_driver.py",  # of a Ray cluster's
}
"""Whose code runs in environments of its own."""
RUNTIME_LOCKS = ("requirements.lock", "requirements-torch.lock", "requirements-dev.lock")
HASHED_LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-ops.lock")
LOCK_LINE = re.compile(r"([A-Za-z0-9._-]+==[0-9][0-9a-z.!]*|    --hash=sha256:[0-9a-f]{64})( \\)?")
PIN = re.compile(r"^([\w.-]+)==([\w.!]+)", re.MULTILINE)
COME_WITH = {"billiard": "celery", "botocore": "boto3", "tokenizers": "transformers"}
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
    files = [path for path in files if not OF_THEIR_OWN & {path, *path.parents}]
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
    locks = "\n".join((ROOT / name).read_text() for name in RUNTIME_LOCKS)
    return {normalize(name): version for name, version in PIN.findall(locks)}


def test_every_import_is_declared_and_locked():
    distributions = packages_distributions()
    declared, locked = list_declared(), list_locked()
    for module, path in list_third_party().items():
        owners = {normalize(owner) for owner in distributions.get(COME_WITH.get(module, module), [])}
        assert owners & declared, f"{path} imports {module}: declare it in pyproject.toml"
        assert owners & set(locked), f"{path} imports {module}: run make lock"


def test_the_lock_holds_versions_and_hashes_and_nothing_that_names_a_machine_or_an_index():
    for path in ROOT.glob("requirements*.lock"):
        for line in path.read_text().splitlines():
            assert re.fullmatch(
                r"[A-Za-z0-9._-]+==[0-9][0-9a-z.!]*( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?", line
            ), line


def test_every_package_but_torch_is_locked_with_hashes():
    for name in HASHED_LOCKS:
        for pin in re.split(r"^(?=\S)", (ROOT / name).read_text(), flags=re.MULTILINE):
            assert not pin or "--hash=sha256:" in pin, f"{name}: {pin.strip()} has no hash: run make lock-hashes"


def test_the_images_hold_the_versions_that_the_tests_ran_with():
    locked = list_locked()
    for image in ("edge", "slim", "gpu"):
        pins = PIN.findall((ROOT / f"requirements-{image}.lock").read_text())
        differing = {name for name, version in pins if locked.get(normalize(name)) != version}
        assert not differing, f"requirements-{image}.lock: run make lock-hashes"


def test_the_images_hold_what_their_services_want_and_learning_only_where_they_train():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for image in ("edge", "slim", "gpu"):
        locked = {normalize(name) for name, _ in PIN.findall((ROOT / f"requirements-{image}.lock").read_text())}
        wanted = {normalize(re.split(r"[\[<>=!; ]", each)[0]) for each in list_image(project, image)}
        assert wanted - locked <= {"torch"}, image
        assert ("transformers" in locked) == (image == "gpu")
    assert {normalize(re.split(r"[\[<>=!; ]", each)[0]) for each in project["dependencies"]} > LEARNING


def test_the_lock_pins_what_only_works_at_one_version():
    locked = list_locked()
    assert (locked["trl"], locked["torch"], locked["kafka-python"]) == ("1.12.0", "2.13.0", "3.0.12")
