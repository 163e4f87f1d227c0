"""Files opened by what they hold, not by what they are called: packed or not, with a byte order mark or without."""

import gzip
import io
from pathlib import Path
from typing import IO, Any

from cli.exchange.found import Refused
from local.errors import StackFailed

KINDS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
GZIP, MARK = b"\x1f\x8b", b"\xef\xbb\xbf"
OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it, and name the files in it",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it",
    b"\xfd7zXZ": "packed with xz: unpack it",
    b"BZh": "packed with bzip2: unpack it",
}
"""Beginnings of files that hold no text."""
LOOKED_AT = 8


def find_kind(path: Path) -> str:
    """Find of which kind a file is by its name, whatever its case. Raises: StackFailed: of none that is known."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    if kind not in KINDS:
        raise StackFailed(f"{path.name} is none of {', '.join(KINDS)} (or these with .gz)")
    return kind


def open_text(raw: io.BufferedReader) -> tuple[IO[bytes], int]:
    """Open what is in a file as bytes of UTF-8; also returns where they begin, behind a byte order mark.

    Raises: Refused: they are no text.
    """
    packed = raw.peek(LOOKED_AT).startswith(GZIP)
    file: Any = gzip.GzipFile(fileobj=raw) if packed else raw
    head = file.peek(LOOKED_AT)
    for beginning, what in OTHERS.items():
        if head.startswith(beginning):
            raise Refused("broken_file", f"the file is {what}")
    begin = len(MARK) if head.startswith(MARK) else 0
    file.seek(begin)
    return file, begin
