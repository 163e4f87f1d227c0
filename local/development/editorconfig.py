"""`make lint`: do the tracked text files keep to .editorconfig? The length of Python's lines is ruff's to judge."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from editorconfig import get_properties


def list_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    return [path for name in listing.split("\0") if (path := Path(name)).is_file()]


def find_faults(content: bytes, rules: Mapping[str, str]) -> Iterator[str]:
    """Yield what in a file breaks its rules; nothing in an empty or a binary one."""
    if not content or b"\0" in content:
        return
    charset = rules.get("charset", "utf-8")
    try:
        lines = content.decode(charset).split("\n")
    except UnicodeDecodeError:
        yield f"not {charset}"
        return
    if rules.get("end_of_line") == "lf" and b"\r" in content:
        yield "carriage return"
    if rules.get("insert_final_newline") == "true" and lines[-1]:
        yield "no newline at the end"
    yield from (f"{number}: {fault}" for number, line in enumerate(lines, 1) for fault in _find_in_line(line, rules))


def _find_in_line(line: str, rules: Mapping[str, str]) -> Iterator[str]:
    if rules.get("trim_trailing_whitespace") == "true" and line.endswith((" ", "\t")):
        yield "white space at the end"
    if rules.get("indent_style") == "space" and line.startswith("\t"):
        yield "indented by a tab"


def main() -> None:
    found = [
        f"{path}:{fault}"
        for path in list_files()
        for fault in find_faults(path.read_bytes(), get_properties(str(path.resolve())))
    ]
    print("\n".join(found) or "Every file keeps to .editorconfig.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
