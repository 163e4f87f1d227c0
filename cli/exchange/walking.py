"""The records of all files of an import, or of an API's pages, each with what its importer finds in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.exchange.apis.fetching import Client, Page
from cli.exchange.files.reading import RecordFile
from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.reporting.tally import Tally
from cli.exchange.unread import find_unread

FAULTS = (RecursionError, TypeError, ValueError, AttributeError, LookupError, OverflowError)
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

    def __str__(self) -> str:
        return f"{self.source}, record {self.record}"


def walk(
    files: Sequence[Path], importer: Importer, options: Options, tally: Tally, skip: Place = Place(0, 0)
) -> Iterator[tuple[Place, Found | None]]:
    """Walk the records in order; those that are refused are counted, and come as None. What lies before `skip` is only
    read.

    Raises: StackFailed: one of the files is of no known kind; none is read.
    """
    sizes = [max(1, path.stat().st_size) for path in files]
    for number, opened in enumerate([RecordFile(path, importer.wrappers) for path in files]):
        if number < skip.file:
            continue
        before = sum(sizes[:number]) / sum(sizes)
        for at, record in enumerate(opened, 1):
            if number == skip.file and at <= skip.record:
                continue
            share = before + opened.progress * sizes[number] / sum(sizes)
            place = Place(number, at, share, source=opened.path.name)
            yield place, read_record(importer, record, options, tally, place)


def walk_pages(
    client: Client, importer: Importer, options: Options, tally: Tally, skip: Place = Place(0, 0)
) -> Iterator[tuple[Place, Found | None]]:
    """Walk what an API lists, as `walk` does files, from the page of `skip` on.

    What was sent of that page is sent again, under its ids.
    """
    for stage in range(skip.file, len(client.stages)):
        number = 0
        for page, records in client.list_pages(stage, skip.page if stage == skip.file else None):
            for record in records:
                number += 1
                place = Place(stage, number, page=page, source=page.path)
                yield place, read_record(importer, record, options, tally, place)


def read_record(
    importer: Importer, record: Record | Refused, options: Options, tally: Tally, place: Place
) -> Found | None:
    """Read a record; None if it is refused, which is counted. What looks like feedback in it and is not read is counted
    too.
    """
    try:
        if isinstance(record, Refused):
            raise record
        for unread in find_unread(record, importer.reads, options.columns.values()):
            tally.count_refused(unread, str(place))
        return importer.read(record, options)
    except Refused as refused:
        tally.count_record(refused, str(place), place.file)
    except FAULTS as error:
        tally.count_record(Refused("unreadable", f"{type(error).__name__}: {error}"), str(place), place.file)
    return None
