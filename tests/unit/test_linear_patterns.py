"""No pattern that meets a user's text costs more than the text's length: grown inputs show it."""

import ast
import importlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from services.curator.evidence.adapters import secret_formats
from services.curator.evidence.adapters.redaction import BUDGET_SECONDS, Redaction, RedactionTooSlow
from tests.unit.linear import is_linear

ROOT = Path(__file__).parents[2]
CALLS = {"compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
JS_LITERAL = re.compile(r"[(,=]\s{0,4}/(?!\*)((?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)/[dgimsuvy]*")

OF_THE_PAGES_AUTHOR = {r"\/+$"}
"""Patterns in the browser's client that meet what the page's author wrote only: the address to send to."""

ATOMS = [
    ":",
    ".",
    "-",
    "_",
    "@",
    "/",
    "=",
    "+",
    " ",
    "(",
    "1",
    "0",
    "a",
    "F",
    "é",
    "中",
    "`",
    "[",
    "\n",
    "\\",
    '"',
    "\u200b",
]
WORDS = [
    "1.", "12 ", "::", "a@", "@a.", "a.b", "ab:cd:", "eyJ", "eyJa.", "eyJa-", "sk-", "sk-ant-", "://", "://a:",
    "token=", "password: ", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END ", "DE89 3704", " - at `",
    "order no. ", "call 555-", "(212) ", "+49 ", "0049 ", "4111 1111 ", "000-00-", "version ", "stages[1].",
    "ip 1.2.3.", "tel ", "[1",
]  # fmt: skip
UNITS = [*ATOMS, *WORDS]
PAIRS = ["".join(pair) for pair in itertools.permutations(ATOMS[:10], 2)]


def read_calls(path: Path) -> Iterator[tuple[int, ast.expr]]:
    """Line and first argument of each call of `re`."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=name), args=[first, *_]) if name in CALLS:
                yield node.lineno, first


def find_sources(*folders: str) -> Iterator[Path]:
    yield from (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


def collect() -> tuple[dict[str, re.Pattern[str]], set[str]]:
    """Every pattern by where it stands; and the modules that put some together from parts."""
    patterns: dict[str, re.Pattern[str]] = {}
    composing: set[str] = set()
    for path in find_sources("services", "shared", "clients", "cli/exchange"):
        for line, argument in read_calls(path):
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                patterns[f"{path.relative_to(ROOT)}:{line}"] = re.compile(argument.value, re.DOTALL)
            else:
                composing.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for path in sorted(path for path in (ROOT / "clients").rglob("*.[jt]s*") if path.suffix in {".js", ".ts", ".tsx"}):
        for match in JS_LITERAL.finditer(path.read_text()):
            if match[1] not in OF_THE_PAGES_AUTHOR:
                patterns[f"{path.relative_to(ROOT)}: {match[1]}"] = re.compile(match[1])
    return patterns, composing


def find_patterns(name: str) -> dict[str, re.Pattern[str]]:
    """The patterns that a module holds, in collections too."""
    found: dict[str, re.Pattern[str]] = {}

    def look(label: str, value: object) -> None:
        if isinstance(value, re.Pattern):
            found[label] = value
        elif isinstance(value, dict):
            for key, item in value.items():
                look(f"{label}.{key}", item)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                look(f"{label}.{index}", item)

    for attribute, value in vars(importlib.import_module(name)).items():
        look(f"{name}.{attribute}", value)
    return found


def run_pattern(name: str) -> Callable[[str], object]:
    pattern: re.Pattern[Any] = PATTERNS[name]
    if isinstance(pattern.pattern, bytes):
        return lambda text: sum(1 for _ in pattern.finditer(text.encode()))
    if "_MATCHERS" in name:  # only ever matched behind a prefix: redaction as a whole is grown below
        return pattern.match
    return lambda text: (pattern.match(text), pattern.fullmatch(text), sum(1 for _ in pattern.finditer(text)))


def grows_linearly(run: Callable[[str], object], unit: str, characters: int) -> bool:
    small, large = (unit * (count // len(unit)) + "g" for count in (characters // 4, characters))
    return is_linear(run, small, large)


PATTERNS, COMPOSING = collect()
for module in sorted(COMPOSING):
    PATTERNS |= find_patterns(module)


def test_the_patterns_are_found():
    assert any(name.startswith("services/ingest") for name in PATTERNS)
    assert any("heliotrope.js" in name for name in PATTERNS)
    assert f"{secret_formats.__name__}._MATCHERS.eyJ" in PATTERNS


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_a_patterns_cost_grows_with_the_text_and_not_faster(name: str):
    slow = [unit for unit in UNITS if not grows_linearly(run_pattern(name), unit, 8_000)]
    assert slow == []


def redact(text: str) -> None:
    with suppress(RedactionTooSlow):  # some of these never settle
        Redaction(budget_seconds=1e9).redact_text(text)


def test_redactions_cost_grows_with_the_text_and_not_faster():
    near_misses = [prefix + tail for prefix in secret_formats._MATCHERS for tail in ("", "a", "-", "a1b2c3d4e5f6.")]
    assert [unit for unit in [*UNITS, *PAIRS, *near_misses] if not grows_linearly(redact, unit, 16_000)] == []


@pytest.mark.parametrize(
    "text",
    [
        ":" * 20_000 + "g",
        "ab:" * 10_000,
        bytes(range(256)).hex(":") * 40,
        "1." * 100_000,
        "1" * 900_000,
        "eyJ" * 300_000,
        "a@b." * 200_000,
        "-----BEGIN PRIVATE KEY-----\n" * 30_000,
    ],
    ids=lambda text: f"{len(text)}_of_{text[:4]!r}",
)
def test_what_once_held_the_curator_takes_a_small_part_of_its_budget(text: str):
    began = time.thread_time()
    redact(text)
    assert time.thread_time() - began < BUDGET_SECONDS / 2


def test_a_record_beyond_its_budget_is_refused():
    with pytest.raises(RedactionTooSlow):
        Redaction(budget_seconds=0.05).redact_value(["call 0301234567 " * 100] * 100)
