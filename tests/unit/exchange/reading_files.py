"""What the tests of importers share."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cli.exchange.events import Import
from cli.exchange.found import Found, Options
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.tally import Tally
from cli.exchange.walking import walk

FIXTURES = Path(__file__).parent / "fixtures"


def read_files(source: str, paths: Sequence[Path], options: Options | None = None) -> tuple[Found, Tally]:
    """All that is found in these files, and its counts."""
    tally, everything = Tally(), Found()
    about = Import(source, source, datetime(2000, 1, 1, tzinfo=UTC))
    for place, found in walk(paths, IMPORTERS[source], options or Options(), tally):
        if found is None:
            continue
        checked = about.check_times(found)
        tally.count(checked, str(place))
        everything.answers.extend(checked.answers)
        everything.feedback.extend(checked.feedback)
    return everything, tally


def read_fixture(source: str, name: str, options: Options | None = None) -> tuple[Found, Tally]:
    return read_files(source, [FIXTURES / name], options)
