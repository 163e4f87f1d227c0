"""Records of files of any size, one at a time: JSON lines, a JSON list (also inside an object), CSV, Parquet."""

import csv
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any

from cli.exchange.files.opening import find_kind, open_text
from cli.exchange.files.splitting import ListSplitter, find_list
from cli.exchange.found import Refused
from cli.exchange.ports import Record
from shared.errors import MalformedBody
from shared.json_depth import check_depth

LONGEST_LINE = 64 * 2**20
"""Bytes of one record."""
LOOKED_AT = 2**20
"""Bytes in which the member that wraps the records has to begin."""
PARQUET_ROWS = 1000
DELIMITERS = (",", ";", "\t")
BROKEN = (OSError, EOFError, zlib.error)
"""What a file raises that breaks off, or whose disk does."""


@dataclass
class RecordFile:
    """A file of records; `progress` grows from 0 to 1 while they are read.

    Raises: StackFailed: the file is of no known kind.
    """

    path: Path
    wrappers: tuple[str, ...] = ()
    _raw: IO[bytes] | None = field(default=None, repr=False)
    _share: float = 0.0
    _size: int = field(init=False, repr=False)
    _kind: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._kind = find_kind(self.path)
        self._size = max(1, self.path.stat().st_size)

    @property
    def progress(self) -> float:
        if self._raw is None or self._raw.closed:
            return self._share
        return self._raw.tell() / self._size

    def __iter__(self) -> Iterator[Record | Refused]:
        """Read the records in order; what is none comes as the reason why."""
        if self._kind == ".parquet":
            yield from self._read_parquet()
            return
        with self.path.open("rb") as raw:
            self._raw = raw
            try:
                file, begin = open_text(raw)
                yield from self._read_text(file, begin)
            except Refused as refused:
                yield refused
            except BROKEN as error:
                yield _break_off(error)
        self._share = 1.0

    def _read_text(self, file: IO[bytes], begin: int) -> Iterator[Record | Refused]:
        if self._kind in (".csv", ".tsv"):
            yield from _read_table(file)
        elif self._kind != ".json":
            yield from _read_lines(file)
        elif (found := find_list(_read_head(file), self.wrappers)) is not None:
            file.seek(begin + found)
            yield from _read_list(file)
        else:
            yield from _read_objects(file, begin)

    def _read_parquet(self) -> Iterator[Record | Refused]:
        import pyarrow.parquet

        try:
            with closing(pyarrow.parquet.ParquetFile(self.path)) as table:
                rows = 0
                for batch in table.iter_batches(PARQUET_ROWS):
                    yield from batch.to_pylist()
                    rows += batch.num_rows
                    self._share = rows / max(1, table.metadata.num_rows)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            yield _break_off(error)
        self._share = 1.0


def _break_off(error: object) -> Refused:
    return Refused("broken_file", f"the file cannot be read any further: {error}")


def _read_chunk(file: IO[bytes]) -> bytes:
    """Read what is there, up to a mebibyte; of a file that breaks off, what stands before that."""
    return file.read1(LOOKED_AT)  # type: ignore[attr-defined, no-any-return]


def _read_head(file: IO[bytes]) -> bytes:
    head = b""
    with suppress(*BROKEN):
        while len(head) < LOOKED_AT and (chunk := _read_chunk(file)):
            head += chunk
    return head


def _read_list(file: IO[bytes]) -> Iterator[Record | Refused]:
    splitter = ListSplitter(LONGEST_LINE)
    while not splitter.is_ended and (chunk := _read_chunk(file)):
        for member in splitter.feed(chunk):
            yield refuse_long("member of the list") if member is None else parse_record(member)
    if not splitter.is_ended:
        yield _break_off(f"the list does not end; {len(splitter.rest()):,} bytes of a member are left")


def _read_lines(file: IO[bytes]) -> Iterator[Record | Refused]:
    while line := file.readline(LONGEST_LINE):
        if not line.endswith(b"\n") and len(line) == LONGEST_LINE:
            _skip_line(file)
            yield refuse_long("line")
        elif line.strip():
            yield parse_record(line)


def refuse_long(what: str) -> Refused:
    """Refuse a record that is longer than one may be."""
    return Refused("too_large", f"a {what} of more than {LONGEST_LINE:,} bytes")


def _skip_line(file: IO[bytes]) -> None:
    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass


def parse_record(raw: bytes) -> Record | Refused:
    """Parse a record; what is none comes as the reason why."""
    try:
        check_depth(raw)
        value: Any = json.loads(raw.decode())
    except MalformedBody as error:
        return Refused("too_deep", error.detail)
    except UnicodeDecodeError as error:
        return Refused("not_utf8", f"{error.reason}: {raw[:60].decode(errors='replace')}")
    except (ValueError, RecursionError):
        return Refused("not_json", raw[:80].decode(errors="replace"))
    return value if isinstance(value, dict) else Refused("no_object", "a record that is no JSON object")


def _read_objects(file: IO[bytes], begin: int) -> Iterator[Record | Refused]:
    """Read one object over several lines, or one a line."""
    file.seek(begin)
    first = file.readline(LONGEST_LINE)
    file.seek(begin)
    whole = file.read(LONGEST_LINE) if isinstance(parse_record(first), Refused) else b""
    if whole and not isinstance(parsed := parse_record(whole), Refused):
        yield parsed
        return
    file.seek(begin)
    yield from _read_lines(file)


def _read_table(file: IO[bytes]) -> Iterator[Record | Refused]:
    csv.field_size_limit(LONGEST_LINE)
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        heading = text.readline(LOOKED_AT)
        delimiter = max(DELIMITERS, key=heading.count)
        for row in csv.DictReader(chain([heading], text), delimiter=delimiter):
            yield _check_row(row)
    except csv.Error as error:
        yield _break_off(error)
    finally:
        text.detach()


def _check_row(row: dict[Any, Any]) -> Record | Refused:
    if None in row or None in row.values():
        return Refused("ragged_row", "not as many cells as the heading has")
    try:
        "".join(chain(row, row.values())).encode()
    except UnicodeEncodeError:
        return Refused("not_utf8", "a cell is no UTF-8: save the table as UTF-8")
    return row
