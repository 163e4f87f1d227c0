"""What `make bench-imports` measures: files that are read whole, with something said of every row."""

import pytest

from bench.imports import SOURCES
from tests.unit.exchange.reading_files import read_files


@pytest.mark.parametrize("source", SOURCES)
def test_every_row_of_a_benchmarks_file_is_an_answer_of_which_something_is_said(source, tmp_path):
    name, write = SOURCES[source]
    write(tmp_path / name, 20)
    _, tally = read_files(source, [tmp_path / name])
    assert (tally.records, dict(tally.refused)) == (20, {})
    assert tally.answers >= 20
    assert sum(tally.feedback.values()) >= 20
