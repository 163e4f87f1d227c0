"""Expand and contract: the code from before the newest migration works on today's schema."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

pytestmark = [pytest.mark.ops, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
SERVICES = ("curator", "ingest", "trainer", "evaluator", "deployer")
"""Whose tests of the old code run: real handlers and APIs of a service against Postgres."""


def run_git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def find_old_commit() -> tuple[str, str]:
    """(commit before the one that brought the newest migration, that migration)."""
    head = ScriptDirectory.from_config(Config(ROOT / "alembic.ini")).get_revision("head")
    newest = Path(head.path).relative_to(ROOT)
    added = run_git("log", "--diff-filter=A", "--format=%H", "--", str(newest)).decode().split()
    assert added, f"{newest} is not committed, or the clone has no history"
    return run_git("rev-parse", f"{added[-1]}^").decode().strip(), newest.name


def find_suites(old: Path) -> list[str]:
    """A service's integration tests are a file or a folder, as the old code had it."""
    folder = old / "tests" / "integration"
    suites = [next((p for p in (folder / name, folder / f"test_{name}.py") if p.exists()), None) for name in SERVICES]
    assert None not in suites, f"{suites}, of {SERVICES}"
    return [str(path.relative_to(old)) for path in suites if path]


def test_the_code_before_the_newest_migration_passes_its_own_tests_on_todays_schema(tmp_path: Path):
    commit, newest = find_old_commit()
    old = tmp_path / "old"
    with tarfile.open(fileobj=io.BytesIO(run_git("archive", commit))) as archive:
        archive.extractall(old, filter="data")
    assert not (old / "migrations" / "versions" / newest).exists()
    shutil.rmtree(old / "migrations" / "versions")
    shutil.copytree(ROOT / "migrations" / "versions", old / "migrations" / "versions")
    environment = {**os.environ, "PYTHONPATH": str(old)}
    where = [sys.executable, "-c", "import shared; print(shared.__file__)"]
    assert str(old) in subprocess.run(where, cwd=old, env=environment, capture_output=True, text=True).stdout
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *find_suites(old)],
        cwd=old,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert said.returncode == 0, said.stdout[-6000:] + said.stderr[-2000:]
    assert " passed" in said.stdout
