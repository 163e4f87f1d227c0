"""Files of every kind hold the same records; what is broken costs its own record alone."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from cli.exchange.files.reading import RecordFile
from cli.exchange.found import Refused
from local.errors import StackFailed

ROWS = [{"prompt": "a", "n": 1.5}, {"prompt": "b", "n": 2.5}]


def read(path: Path, *wrappers: str) -> list[Any]:
    opened = RecordFile(path, wrappers)
    found = [one.reason if isinstance(one, Refused) else dict(one) for one in opened]
    assert opened.progress == pytest.approx(1.0)
    return found


def test_lines_lists_wrapped_lists_and_tables_hold_the_same_records(tmp_path: Path):
    lines = "\n\n".join(json.dumps(row) for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.json").write_text(json.dumps(ROWS, indent=1))
    (tmp_path / "c.json").write_text(json.dumps({"object": "list", "meta": {"data": [1]}, "data": ROWS}))
    (tmp_path / "d.json").write_text(lines.replace("\n\n", "\n"))
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "f.parquet")
    for name in ("a.jsonl", "b.json", "c.json", "d.json", "e.jsonl.gz", "f.parquet"):
        assert read(tmp_path / name, "data") == ROWS, name


def test_one_object_over_many_lines_is_one_record(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps(ROWS[0], indent=2))
    assert read(tmp_path / "a.json", "data") == [ROWS[0]]


def test_a_table_of_commas_keeps_line_breaks_and_marks(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes('\ufeffprompt,answer\n"a\nb","c, d"\nx\n'.encode())
    assert read(tmp_path / "a.csv") == [{"prompt": "a\nb", "answer": "c, d"}, "ragged_row"]


def test_broken_lines_are_refused_one_by_one(tmp_path: Path):
    deep = '{"a": ' + "[" * 200 + "]" * 200 + "}"
    (tmp_path / "a.jsonl").write_text("\n".join([json.dumps(ROWS[0]), "{", "[1]", deep, json.dumps(ROWS[1])]))
    assert read(tmp_path / "a.jsonl") == [ROWS[0], "not_json", "no_object", "too_deep", ROWS[1]]


def test_what_stands_before_the_end_of_a_broken_list_is_read(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps(ROWS)[:-20])
    assert read(tmp_path / "a.json") == [ROWS[0], "broken_file"]


def test_a_file_of_another_kind_is_named(tmp_path: Path):
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(StackFailed, match=r"a\.xlsx is none of"):
        list(RecordFile(tmp_path / "a.xlsx"))
