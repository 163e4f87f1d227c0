"""What `make bench-imports` measures: files that are read whole, with something said of every row."""

import pytest

from bench.import_files import SILENT, SOURCES
from cli.exchange.registry import IMPORTERS
from tests.unit.exchange.reading_files import read_files


@pytest.mark.parametrize("source", SOURCES)
def test_every_row_of_a_benchmarks_file_is_an_answer_and_something_is_said_of_it(source, tmp_path):
    name, write = SOURCES[source]
    write(tmp_path / name, 20)
    _, tally = read_files(source, [tmp_path / name])
    assert (tally.records, dict(tally.refused)) == (20, {})
    assert tally.answers >= 20
    assert sum(tally.feedback.values()) >= 20 or source in SILENT


def test_every_source_is_measured():
    assert SOURCES.keys() == IMPORTERS.keys()
