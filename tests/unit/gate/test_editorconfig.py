"""What the check of .editorconfig finds, and what it leaves alone."""

import pytest

from local.development.editorconfig import find_faults

RULES = {
    "charset": "utf-8",
    "end_of_line": "lf",
    "insert_final_newline": "true",
    "trim_trailing_whitespace": "true",
    "indent_style": "space",
}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"one\r\n", "carriage return"),
        (b"one", "no newline at the end"),
        (b"one \ntwo\n", "1: white space at the end"),
        (b"one\n\ttwo\n", "2: indented by a tab"),
        (b"\xff\n", "not utf-8"),
    ],
)
def test_each_rule_names_what_breaks_it(content: bytes, fault: str) -> None:
    assert fault in list(find_faults(content, RULES))
    assert list(find_faults(content, {})) == [] or fault == "not utf-8"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\0 \r", "zehn Gä\n".encode()])
def test_empty_binary_and_proper_files_have_no_fault(content: bytes) -> None:
    assert list(find_faults(content, RULES)) == []
