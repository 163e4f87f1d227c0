"""Files as newcomers have them: of other encodings, packed, broken off. Each record costs itself alone."""

import csv
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.exchange.commands import Job, run_dry
from cli.exchange.events import Import
from cli.exchange.files import reading
from cli.exchange.files.reading import RecordFile
from cli.exchange.files.splitting import ListSplitter
from cli.exchange.found import Options, Refused
from cli.exchange.registry import IMPORTERS
from local.errors import StackFailed
from tests.unit.exchange.reading_files import FIXTURES
from tests.unit.exchange.test_reading import read
from tests.unit.exchange.test_sources import FIXTURE_COUNTS, options_for

NOW = datetime(2027, 1, 1, tzinfo=UTC)
GOOD = {"prompt": "Where is it?", "chosen": "Here it is.", "rejected": "No."}
NOTHING = [b"", b" \n\n", b"[]", b"null", b"{}", b"5", b'"x"', b"[[[1]]]", b"\x00", b"[{"]
TEXTS = [(source, name) for source, name, *_ in FIXTURE_COUNTS]


def dry(source: str, *files: Path, options: Options | None = None) -> dict[str, Any]:
    about = Import("odd", source, datetime(2000, 1, 1, tzinfo=UTC), latest=NOW)
    return run_dry(Job(IMPORTERS[source], files, about, options or Options()))


def count(report: dict[str, Any]) -> Any:
    return report["records"], report["answers"], report["feedback"]


@pytest.mark.parametrize("source, name", TEXTS)
def test_a_mark_windows_line_ends_packing_and_a_name_in_capitals_change_nothing(source: str, name: str, tmp_path: Path):
    raw = (FIXTURES / name).read_bytes()
    wanted = count(dry(source, FIXTURES / name, options=options_for(name)))
    odd = {
        f"mark-{name}": b"\xef\xbb\xbf" + raw,
        f"windows-{name}": raw.replace(b"\n", b"\r\n"),
        f"packed-{name}": gzip.compress(raw),
        f"mark-{name}.gz": gzip.compress(b"\xef\xbb\xbf" + raw),
        f"plain-{name}.gz": raw,
        name.upper(): raw,
    }
    for called, content in odd.items():
        (tmp_path / called).write_bytes(content)
        assert count(dry(source, tmp_path / called, options=options_for(name))) == wanted, called


@pytest.mark.parametrize("source, name", TEXTS)
def test_a_byte_that_is_no_utf8_costs_its_record_alone_and_replaces_nothing(source: str, name: str, tmp_path: Path):
    raw = (FIXTURES / name).read_bytes()
    at = raw.rindex(b"l") + 1  # within the last record, or behind it
    (tmp_path / name).write_bytes(raw[:at] + b"\xe4" + raw[at:])
    wanted, report = (dry(source, path / name, options=options_for(name)) for path in (FIXTURES, tmp_path))
    assert report["records"] == wanted["records"]
    assert report["refused"].get("not_utf8", {"count": 1})["count"] == 1
    assert "\N{REPLACEMENT CHARACTER}" not in json.dumps(report["pairs"] | report["refused_by_rules"])


@pytest.mark.parametrize("source", IMPORTERS)
def test_a_file_with_nothing_in_it_makes_nothing(source: str, tmp_path: Path):
    for number, content in enumerate(NOTHING):
        for ending in (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".json.gz"):
            file = tmp_path / f"{number}{ending}"
            file.write_bytes(content)
            report = dry(source, file)
            assert (report["answers"], report["feedback"]) == (0, {}), (content, ending)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"PK\x03\x04rest", "a zip archive: unpack it"),
        ("[]".encode("utf-16"), "UTF-16: save it as UTF-8"),
        (gzip.compress("[]".encode("utf-16"), mtime=0), "UTF-16: save it as UTF-8"),
        (b"\x28\xb5\x2f\xfdrest", "packed with zstd"),
    ],
    ids=["zip", "utf-16", "packed utf-16", "zstd"],
)
def test_what_cannot_be_read_says_what_to_do(content: bytes, said: str, tmp_path: Path):
    for ending in (".json", ".jsonl", ".csv"):
        (tmp_path / f"a{ending}").write_bytes(content)
        report = dry("pairs", tmp_path / f"a{ending}")
        assert said in report["refused"]["broken_file"]["examples"][0]


def test_a_folder_or_a_file_of_no_kind_stops_before_anything_is_read(tmp_path: Path):
    good, odd = tmp_path / "a.json", tmp_path / "b.docx"
    good.write_text(json.dumps([GOOD]))
    odd.write_text("x")
    with pytest.raises(StackFailed, match=r"b\.docx is none of"):
        dry("pairs", good, odd)


def odd_rows() -> dict[str, tuple[Any, str | None]]:
    """Name -> an odd row, as JSON, and why it is refused; None: it is not."""
    deep = "[" * 1000 + "]" * 1000
    return {
        "half a character": (json.dumps({**GOOD, "prompt": "x \ud800 y"}), "not_utf8"),
        "half a user": (json.dumps({**GOOD, "user": "\udc00"}), "not_utf8"),
        "zero": (json.dumps({**GOOD, "chosen": "a\0b"}), "zero_character"),
        "deep": (f'{{"prompt": {deep}, "chosen": "a", "rejected": "b"}}', "too_deep"),
        "deep in a text": (json.dumps({**GOOD, "prompt": "[" * 150 + "1" + "]" * 150}), "too_deep"),
        "brackets that are no JSON": (json.dumps({**GOOD, "prompt": "[" * 1000}), None),
        "a number of many digits": (
            f'{{"prompt": "q", "chosen": "a", "rejected": "b", "n": {"9" * 5000}}}',
            "not_json",
        ),
        "no number": ('{"prompt": "q", "chosen": "a b", "rejected": "c", "n": NaN}', None),
        "a broken word": ('{"prompt": "q", "chosen": yes}', "not_json"),
        "no zone": (json.dumps({**GOOD, "at": "2026-01-01 10:00"}), None),
        "no record": ("[1]", "no_object"),
    }


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
@pytest.mark.parametrize("name", odd_rows())
def test_an_odd_row_between_good_ones_costs_itself(name: str, ending: str, tmp_path: Path):
    odd, reason = odd_rows()[name]
    others = [json.dumps({**GOOD, "prompt": text}) for text in ("One?", "Two?")]
    rows = [others[0], odd, others[1]]
    text = "[" + ",\n".join(rows) + "]" if ending == ".json" else "\n".join(rows)
    (tmp_path / f"a{ending}").write_text(text)
    report = dry("pairs", tmp_path / f"a{ending}")
    refused = {found: one["count"] for found, one in report["refused"].items()}
    assert (report["records"], refused) == (3, {reason: 1} if reason else {})
    assert report["answers"] == (4 if reason else 6)


def test_answers_that_differ_under_one_id_are_counted_and_the_same_again_is_not(tmp_path: Path):
    rows = [{"id": 1, "prompt": "Where?", "answer": answer} for answer in ("Here.", "Here.", "There.")]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    assert dry("csv", tmp_path / "a.csv")["same_ids"] == 1


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_table_of_another_delimiter_is_read(delimiter: str, tmp_path: Path):
    (tmp_path / "a.csv").write_text(
        f"prompt{delimiter}answer\nWhere, then?{delimiter}Here; there.\n".replace("; ", ", ")
    )
    [row] = RecordFile(tmp_path / "a.csv")
    assert row == {"prompt": "Where, then?", "answer": "Here, there."}


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_record_that_is_too_long_is_passed_over(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "LONGEST_LINE", 3_000)
    monkeypatch.setattr(reading, "LOOKED_AT", 1_000)
    rows = [GOOD, {"prompt": "long ] , { " * 1_000}, GOOD]
    text = json.dumps(rows) if ending == ".json" else "\n".join(map(json.dumps, rows))
    (tmp_path / f"a{ending}").write_text(text)
    assert read(tmp_path / f"a{ending}") == [GOOD, "too_large", GOOD]


def test_what_stands_before_the_end_of_a_packed_file_that_breaks_off_is_read(tmp_path: Path):
    rows = [{**GOOD, "n": number} for number in range(50)]
    for name, text in {"a.json.gz": json.dumps(rows), "a.jsonl.gz": "\n".join(map(json.dumps, rows))}.items():
        (tmp_path / name).write_bytes(gzip.compress(text.encode())[:-12])
        *found, last = [one.reason if isinstance(one, Refused) else one for one in RecordFile(tmp_path / name)]
        assert last == "broken_file"
        assert found == rows[: len(found)]
        assert found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_a_list_is_split_the_same_however_it_is_cut_into_chunks(size: int):
    members = [{"a": ['x"}]\\', {}, [[]]], "[,": "ü,"}, 5, "a,b", [], {"é": None}, "\\"]
    raw = json.dumps(members, ensure_ascii=False, indent=1).encode()[1:] + b" , 7]"
    splitter = ListSplitter(1_000)
    found = [one for at in range(0, len(raw), size) for one in splitter.feed(raw[at : at + size])]
    assert [json.loads(one or b"") for one in found] == members
    assert splitter.is_ended


@pytest.mark.parametrize("source", IMPORTERS)
def test_a_file_of_another_tool_makes_no_feedback_that_its_own_importer_would_not_make(source: str):
    """Plain shapes are shared: a row of prompt and answers is one wherever it stands. Words in them are not bent."""
    for other, name, *_ in FIXTURE_COUNTS:
        own = dry(other, FIXTURES / name, options=options_for(name))
        mistaken = dry(source, FIXTURES / name)
        assert mistaken["records"] == own["records"]
        assert {"choice", "edit"} & mistaken["feedback"].keys() <= {"choice", "edit"} & own["feedback"].keys(), name
