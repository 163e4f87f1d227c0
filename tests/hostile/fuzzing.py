"""Inputs that a stranger would try: valid ones with parts replaced by poison, as JSON and as damaged bytes.

Each door is fuzzed for `HELIOTROPE_HOSTILE_SECONDS`, in rounds whose seeds count up from `HELIOTROPE_HOSTILE_SEED`: the
same inputs each time, so that a failure can be played again. `POISON` is the corpus; `build/hostile.jsonl` counts the
inputs of each door.
"""

import copy
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning

SECONDS = float(os.environ.get("HELIOTROPE_HOSTILE_SECONDS", "600"))
"""For each door."""
COUNTS = Path(__file__).parents[2] / "build" / "hostile.jsonl"
FIRST_SEED = int(os.environ.get("HELIOTROPE_HOSTILE_SEED", "1"))
EXAMPLES_A_ROUND = 50

POISON: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**31, 2**63, 2**64, -(2**70), 1e308, 5e-324, float("nan"), float("inf")),
    *("", " ", "\0", "a\0b", "\ud83d", "\udc00x", "\u202e\u200b", "%s%n{0}{{x}}", "'; drop table users; --"),
    *("../../etc/passwd", "http://169.254.169.254/", "file:///etc/passwd", "<script>alert(1)</script>"),
    *("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "1970-01-01", "inf", "NaN"),
    *("00000000-0000-0000-0000-000000000000", "urn:uuid:nobody", "g" + ":" * 20_000, "deadbeef" * 1_250, "1." * 20_000),
    *("a@" * 10_000, "eyJ" + "a." * 10_000, "你好" * 5_000, "x" * 300_000, "\n" * 50_000, "🏳️‍🌈" * 2_000, "ﷺ" * 5_000),
    *(
        {"k" * 4_000: ["\0"] * 4_000},
        {"k" * 100_000: 1},
        [{}] * 10_000,
        {f"k{number}": "\0" for number in range(5_000)},
    ),
    *("data:image/png;base64," + "A" * 20_000, "<think></think>" * 5_000, {"a": "\0", "k" * 20_000: [0] * 20_000}),
    *([], {}, [[]], [{}], [None], {"": ""}, {"\0": "\0"}, {"type": "text"}, {"$ref": "#"}, [[[[[[[[[[]]]]]]]]]]),
)


def nest(depth: int, leaf: Any = "\0") -> Any:
    """A list in a list in a list."""
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def poisons() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
    trees = st.recursive(
        leaves, lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each), max_leaves=8
    )
    return st.sampled_from(POISON).map(copy.deepcopy) | st.integers(50, 600).map(nest) | trees


def list_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something can be replaced: every part of a JSON value but the whole, down to twelve levels."""
    if len(path) == 12:
        return []
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, part in parts for found in [(*path, key), *list_paths(part, (*path, key))]]


@st.composite
def damaged(draw: st.DrawFn, valid: Any) -> Any:
    """A valid JSON value with one to three parts replaced, removed or repeated, or with a part that nobody knows."""
    value = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        paths = list_paths(value)
        if not paths:
            return draw(poisons())
        *parents, key = draw(st.sampled_from(paths))
        holder = value
        for parent in parents:
            holder = holder[parent]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "repeat"])):
            case "replace":
                holder[key] = draw(poisons())
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=12))] = draw(poisons())
            case "repeat" if isinstance(holder, list):
                holder.extend([copy.deepcopy(holder[key])] * draw(st.integers(1, 300)))
    return value


@st.composite
def damaged_bytes(draw: st.DrawFn, *valid: Any) -> bytes:
    """A damaged value as JSON; one time in four its bytes are damaged as well."""
    content = json.dumps(draw(damaged(draw(st.sampled_from(valid))))).encode()
    if draw(st.integers(0, 3)):
        return content
    cut = draw(st.integers(0, len(content)))
    return content[:cut] + draw(st.binary(max_size=12)) + content[cut + draw(st.integers(0, 3)) :]


def fuzz(strategy: st.SearchStrategy[Any], check: Callable[[Any], None], seconds: float = SECONDS) -> int:
    """Draw inputs and check what comes of each until the time is up; returns how many were tried."""
    tried, deadline, round_seed = 0, time.monotonic() + seconds, FIRST_SEED
    while time.monotonic() < deadline:

        @seed(round_seed)
        @settings(max_examples=EXAMPLES_A_ROUND, deadline=None, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def run(value: Any) -> None:
            nonlocal tried
            if time.monotonic() < deadline:
                tried += 1
                check(value)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HypothesisWarning)  # of inputs too long to be shown, as some here are
            run()
        round_seed += 1
    keep_count(tried, seconds)
    return tried


def keep_count(tried: int, seconds: float) -> None:
    COUNTS.parent.mkdir(exist_ok=True)
    test = os.environ["PYTEST_CURRENT_TEST"].removesuffix(" (call)")
    with COUNTS.open("a") as file:
        file.write(json.dumps({"test": test, "inputs": tried, "seconds": seconds}) + "\n")
