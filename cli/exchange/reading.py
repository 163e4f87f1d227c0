"""Records of files of any size, one at a time: JSON lines, a JSON list (also inside an object), CSV, Parquet."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import ijson

from cli.exchange.found import Refused
from cli.exchange.ports import Record
from local.errors import StackFailed
from shared.errors import MalformedBody
from shared.json_depth import check_depth

LONGEST_LINE = 64 * 2**20
"""Bytes of one record."""
LOOKED_AT = 2**20
"""Bytes in which the member that wraps the records has to begin."""
PARQUET_ROWS = 1000


@dataclass
class RecordFile:
    """A file of records; `progress` grows from 0 to 1 while they are read."""

    path: Path
    wrappers: tuple[str, ...] = ()
    _raw: IO[bytes] | None = field(default=None, repr=False)
    _share: float = 0.0
    _size: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._size = max(1, self.path.stat().st_size)

    @property
    def progress(self) -> float:
        if self._raw is None or self._raw.closed:
            return self._share
        return self._raw.tell() / self._size

    def __iter__(self) -> Iterator[Record | Refused]:
        """Read the records in order; what is none comes as the reason why.

        Raises: StackFailed: the file is of no known kind.
        """
        suffixes = self.path.suffixes
        kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else self.path.suffix
        if kind == ".parquet":
            yield from self._read_parquet()
            return
        readers = {".csv": _read_csv, ".jsonl": _read_lines, ".ndjson": _read_lines, ".json": self._read_json}
        if kind not in readers:
            raise StackFailed(f"{self.path.name} is none of .json, .jsonl, .ndjson, .csv, .parquet (or these with .gz)")
        with self.path.open("rb") as self._raw:
            opened = gzip.GzipFile(fileobj=self._raw) if suffixes[-1] == ".gz" else self._raw
            try:
                yield from readers[kind](opened)  # type: ignore[arg-type]
            except (OSError, EOFError, zlib.error) as error:
                yield Refused("broken_file", f"the file cannot be read any further: {error}")
        self._share = 1.0

    def _read_json(self, file: IO[bytes]) -> Iterator[Record | Refused]:
        """A list, an object around one, one object, or (as some tools name their JSON lines) one object a line."""
        path = self._find_list(file)
        file.seek(0)
        if path is None:
            yield from _read_objects(file)
            return
        try:
            for item in ijson.items(file, path, use_float=True):
                yield item if isinstance(item, dict) else Refused("no_object", "a member of the list is no object")
        except (ijson.JSONError, ValueError, RecursionError) as error:
            yield Refused("broken_file", f"the file cannot be read any further: {error}")

    def _find_list(self, file: IO[bytes]) -> str | None:
        """Find the ijson path of the records; None if they are not in a list."""
        try:
            for prefix, event, value in ijson.parse(io.BytesIO(file.read(LOOKED_AT))):
                if event == "start_array" and (prefix == "" or prefix in self.wrappers):
                    return f"{prefix}.item".removeprefix(".")
                if event == "end_map" and prefix == "":
                    return None
                del value
        except ijson.JSONError:
            return None
        return None

    def _read_parquet(self) -> Iterator[Record | Refused]:
        import pyarrow.parquet

        try:
            with closing(pyarrow.parquet.ParquetFile(self.path)) as table:
                rows = 0
                for batch in table.iter_batches(PARQUET_ROWS):
                    yield from batch.to_pylist()
                    rows += batch.num_rows
                    self._share = rows / max(1, table.metadata.num_rows)
        except (pyarrow.ArrowException, OSError) as error:
            yield Refused("broken_file", f"the file cannot be read any further: {error}")


def _read_lines(file: IO[bytes]) -> Iterator[Record | Refused]:
    while line := file.readline(LONGEST_LINE):
        if not line.endswith(b"\n") and len(line) == LONGEST_LINE:
            _skip_line(file)
            yield Refused("too_large", f"a line of more than {LONGEST_LINE:,} bytes")
        elif line.strip():
            yield _parse(line)


def _skip_line(file: IO[bytes]) -> None:
    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass


def _parse(line: bytes) -> Record | Refused:
    try:
        check_depth(line)
        value: Any = json.loads(line)
    except MalformedBody as error:
        return Refused("too_deep", error.detail)
    except (ValueError, RecursionError):
        return Refused("not_json", line[:80].decode(errors="replace"))
    return value if isinstance(value, dict) else Refused("no_object", "a line that is no JSON object")


def _read_objects(file: IO[bytes]) -> Iterator[Record | Refused]:
    """Read one object over several lines, or one a line."""
    first = file.readline(LONGEST_LINE)
    file.seek(0)
    whole = file.read(LONGEST_LINE) if isinstance(_parse(first), Refused) else b""
    if whole and not isinstance(parsed := _parse(whole), Refused):
        yield parsed
        return
    file.seek(0)
    yield from _read_lines(file)


def _read_csv(file: IO[bytes]) -> Iterator[Record | Refused]:
    csv.field_size_limit(LONGEST_LINE)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    try:
        for row in csv.DictReader(text):
            short = None in row or None in row.values()
            yield Refused("ragged_row", "not as many cells as the heading has") if short else row
    except csv.Error as error:
        yield Refused("broken_file", f"the file cannot be read any further: {error}")
    finally:
        text.detach()
