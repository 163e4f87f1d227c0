"""What docs/security.md claims is shown by tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"


def list_rows(page: str) -> list[list[str]]:
    """The cells of the table of threats, without its heading."""
    table = page.split("\n\n")[2].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[2:]]


def list_tests(root: Path) -> set[str]:
    """Names of all test functions."""
    found: set[str] = set()
    for file in (root / "tests").rglob("test_*.py"):
        found.update(re.findall(r"^(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE))
    return found


def find_missing(named: str, tests: set[str], root: Path) -> list[str]:
    """Which of the named tests, by function or by file, there are none of."""
    names = re.findall(r"`([^`]+)`", named)
    return [name for name in names if name not in tests and not (name.startswith("tests/") and (root / name).is_file())]


def test_every_threat_names_what_stands_against_it_and_a_test_that_exists():
    rows, tests = list_rows(PAGE.read_text("utf-8")), list_tests(ROOT)
    assert len(rows) >= 20
    for row in rows:
        assert len(row) == 3, row
        threat, defence, named = row
        assert threat
        assert defence
        assert "`" in named, f"{threat}: no test is named"
        assert find_missing(named, tests, ROOT) == [], threat


def test_a_test_that_does_not_exist_is_noticed():
    assert find_missing("`test_nobody_wrote_this`, `tests/unit/test_nothing.py`", list_tests(ROOT), ROOT) == [
        "test_nobody_wrote_this",
        "tests/unit/test_nothing.py",
    ]


def test_what_is_not_defended_is_said():
    assert PAGE.read_text("utf-8").partition("## What is not defended")[2].count("\n- ") >= 5
