"""What the gate says of tests that were skipped."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(folder: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_one.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-c", str(folder / "pytest.ini"), *options]
    return subprocess.run([*command, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("reason", "options", "code"),
    [
        ("no Chromium on this machine", ["--forbid-skips"], 1),
        ("no Chromium on this machine", [], 0),
        ("there is a GPU", ["--forbid-skips"], 0),
    ],
)
def test_a_skip_fails_the_gate_if_something_could_have_been_installed(
    tmp_path: Path, reason: str, options: list[str], code: int
) -> None:
    ended = run(tmp_path, f"import pytest\n\ndef test_it():\n    pytest.skip({reason!r})\n", *options)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert (f"--forbid-skips was given: test_one.py::test_it: Skipped: {reason}" in ended.stdout) == bool(code)


def test_a_whole_file_that_lacks_a_package_fails_the_gate(tmp_path: Path) -> None:
    ended = run(tmp_path, "import pytest\n\npytest.importorskip('no_such_package')\n", "--forbid-skips")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "could not import 'no_such_package'" in ended.stdout
