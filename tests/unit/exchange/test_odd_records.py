"""Records of shapes that nobody thought of: each costs itself, and what is made of it can be read again."""

import copy
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cli.exchange.events import Import
from cli.exchange.files.reading import RecordFile
from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.tally import Tally
from cli.exchange.walking import Place, read_record
from shared.bus import decode, encode
from shared.user_hashes import UserHashes
from tests.unit.exchange.reading_files import FIXTURES
from tests.unit.exchange.test_sources import FIXTURE_COUNTS, options_for

ODD: tuple[Any, ...] = (None, 5, -1.5, "x", "", [], {}, True, [5], {"a": 1}, "[1]", 1e30, [None], [[]])
TRIED = 60
"""Changes of each fixture."""
ABOUT = Import("odd", "odd", datetime(2026, 1, 1, tzinfo=UTC), UserHashes("a secret of sixteen"))


def list_places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from list_places(inner, (*path, step))


def change(record: Any, path: tuple[Any, ...], odd: Any) -> Any:
    changed = copy.deepcopy(record)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = odd
    return changed


def draw_odd_records(source: str, name: str) -> Iterator[Record]:
    records = [one for one in RecordFile(FIXTURES / name, IMPORTERS[source].wrappers) if not isinstance(one, Refused)]
    places = [(record, path) for record in records for path in list_places(record)]
    rng = random.Random(name)
    for record, path in rng.choices(places, k=TRIED):
        yield change(record, path, rng.choice(ODD))


@pytest.mark.parametrize("source, name", [(source, name) for source, name, *_ in FIXTURE_COUNTS])
def test_a_record_with_something_odd_in_it_is_read_or_refused_and_what_is_read_can_be_sent(source, name):
    for record in draw_odd_records(source, name):
        try:
            found = IMPORTERS[source].read(record, options_for(name))
            events = list(ABOUT.derive_events(ABOUT.check_times(found)))
        except Refused:
            continue
        for event in events:
            assert decode(encode(event, source="import")) == event


def test_a_reader_that_stumbles_costs_one_record():
    def stumble(record: Record, options: Options) -> Found:
        return Found([record["answers"][0]])

    tally = Tally()
    found = read_record(Importer("", stumble), {"answers": []}, Options(), tally, Place(0, 3, source="a.json"))
    assert found is None
    assert (tally.records, dict(tally.refused)) == (1, {"unreadable": 1})
    assert tally.examples["unreadable"] == ["a.json, record 3: IndexError: list index out of range"]
