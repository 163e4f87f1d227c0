"""The records of all files of an import, each with what its importer finds in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer
from cli.exchange.reading import RecordFile
from cli.exchange.tally import Tally


@dataclass(frozen=True)
class Place:
    """Which record of which file, from 1, and how much of all files lies before it."""

    file: int
    record: int
    share: float


def walk(
    files: Sequence[Path], importer: Importer, options: Options, tally: Tally, skip: tuple[int, int] = (0, 0)
) -> Iterator[tuple[Place, Found]]:
    """Walk the records in order, counting; what is refused is counted alone. What lies before `skip` is only read."""
    sizes = [max(1, path.stat().st_size) for path in files]
    for number, path in enumerate(files):
        if number < skip[0]:
            continue
        opened = RecordFile(path, importer.wrappers)
        before = sum(sizes[:number]) / sum(sizes)
        for at, record in enumerate(opened, 1):
            if number == skip[0] and at <= skip[1]:
                continue
            where = f"{path.name}, record {at}"
            place = Place(number, at, before + opened.progress * sizes[number] / sum(sizes))
            try:
                if isinstance(record, Refused):
                    raise record
                found = importer.read(record, options)
            except Refused as refused:
                tally.records += 1
                tally.count_refused(refused, where)
                found = Found()
            except RecursionError:
                tally.records += 1
                tally.count_refused(Refused("too_deep", "nested too deep"), where)
                found = Found()
            else:
                tally.count(found, where)
            yield place, found
