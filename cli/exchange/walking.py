"""The records of all files of an import, or of an API's pages, each with what its importer finds in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.exchange.fetching import Client, Page
from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.reading import RecordFile
from cli.exchange.tally import Tally

FAULTS = (RecursionError, TypeError, ValueError, AttributeError, LookupError)
"""Of a reader, before a record of a shape that nobody thought of: it costs that record, not the import."""


@dataclass(frozen=True)
class Place:
    """Which record of which file, from 1, and how much of all files lies before it; of an API, which of its stages, and
    the page that it is on.
    """

    file: int
    record: int
    share: float = 0.0
    page: Page | None = None
    source: str = ""
    """The file's name, or the API's path."""


def walk(
    files: Sequence[Path], importer: Importer, options: Options, tally: Tally, skip: Place = Place(0, 0)
) -> Iterator[tuple[Place, Found]]:
    """Walk the records in order, counting; what is refused is counted alone. What lies before `skip` is only read."""
    sizes = [max(1, path.stat().st_size) for path in files]
    for number, path in enumerate(files):
        if number < skip.file:
            continue
        opened = RecordFile(path, importer.wrappers)
        before = sum(sizes[:number]) / sum(sizes)
        for at, record in enumerate(opened, 1):
            if number == skip.file and at <= skip.record:
                continue
            share = before + opened.progress * sizes[number] / sum(sizes)
            place = Place(number, at, share, source=path.name)
            yield place, read_record(importer, record, options, tally, place)


def walk_pages(
    client: Client, importer: Importer, options: Options, tally: Tally, skip: Place = Place(0, 0)
) -> Iterator[tuple[Place, Found]]:
    """Walk what an API lists, from the page of `skip` on: what was sent of that page is sent again, under its ids."""
    for stage in range(skip.file, len(client.stages)):
        number = 0
        for page, records in client.list_pages(stage, skip.page if stage == skip.file else None):
            for record in records:
                number += 1
                place = Place(stage, number, page=page, source=page.path)
                yield place, read_record(importer, record, options, tally, place)


def read_record(importer: Importer, record: Record | Refused, options: Options, tally: Tally, place: Place) -> Found:
    """Read a record, and count what is found in it, or why it is refused."""
    where = f"{place.source}, record {place.record}"
    try:
        if isinstance(record, Refused):
            raise record
        found = importer.read(record, options)
    except Refused as refused:
        return _refuse(refused, tally, where)
    except FAULTS as error:
        return _refuse(Refused("unreadable", f"{type(error).__name__}: {error}"), tally, where)
    tally.count(found, where)
    return found


def _refuse(refused: Refused, tally: Tally, where: str) -> Found:
    tally.records += 1
    tally.count_refused(refused, where)
    return Found()
