"""JSON that is nested too deep is refused, whatever its strings hold, at a cost linear in its size."""

import time

import pytest

from shared.errors import MalformedBody
from shared.json_depth import MAX_DEPTH, check_depth


@pytest.mark.parametrize("raw", [b"[" * 101, b'{"a":' * 101, b"[[]," * 60 + b"[" * 60, b'["\\"",' + b"[" * 100])
def test_too_deep_is_refused(raw: bytes):
    with pytest.raises(MalformedBody):
        check_depth(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b"[" + b"[]," * 5_000 + b"1]",
        b'"' + b"[" * 5_000 + b'"',
        b'["\\"[[[["]' * 200,
    ],
)
def test_broad_json_and_brackets_in_strings_are_taken(raw: bytes):
    check_depth(raw)


@pytest.mark.parametrize("unit", [b"[],", b'"[",', b'"', b"\\", b'"\\', b'{"a":{}},', b'""['])
def test_the_cost_grows_with_the_size_only(unit: bytes):
    def measure(size: int) -> float:
        raw = b"[" * 101 + (unit * (size // len(unit)))[:size]
        started = time.process_time()
        with pytest.raises(MalformedBody):
            check_depth(raw)
        return time.process_time() - started

    small, large = min(measure(100_000) for _ in range(3)), min(measure(800_000) for _ in range(3))
    assert large < 30 * small + 0.05
