"""Freeze windows: times in which no rollout comes nearer to the users. The way back is never frozen.

A window is weekly (`fri 16:00 - mon 08:00 Europe/Berlin`) or of a date (`2026-12-20 18:00 - 2027-01-04 08:00 UTC`), by
the wall clock of its zone; several are divided by semicolons.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEK = timedelta(days=7)
WEEKLY = re.compile(r"([a-z]{3}) (\d\d):(\d\d) - ([a-z]{3}) (\d\d):(\d\d) (\S+)")
DATED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d) - (\d{4}-\d\d-\d\d \d\d:\d\d) (\S+)")
FORMS = "fri 16:00 - mon 08:00 Europe/Berlin, or 2026-12-20 18:00 - 2027-01-04 08:00 Europe/Berlin"
FURTHEST = timedelta(days=366)
"""Windows that leave no gap for longer than this say no end."""


@dataclass(frozen=True)
class FreezeWindow:
    """From `begin` to `end` by the wall clock of `zone`; `is_weekly`: of the week of 2024-01-01, a Monday."""

    begin: datetime
    end: datetime
    zone: ZoneInfo
    is_weekly: bool

    def find_end(self, at: datetime) -> datetime | None:
        """Return when the window that `at` lies in ends, in UTC; None outside of it."""
        for begin, end in self._list_near(at):
            if begin <= at < end:
                return end
        return None

    def _list_near(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        since = at.astimezone(self.zone).replace(tzinfo=None) - self.begin
        whole = since // WEEK if self.is_weekly else 0
        for weeks in (whole - 1, whole, whole + 1) if self.is_weekly else (0,):
            yield self._place(self.begin + weeks * WEEK), self._place(self.end + weeks * WEEK)

    def _place(self, local: datetime) -> datetime:
        return local.replace(tzinfo=self.zone).astimezone(UTC)


def parse_windows(text: str) -> list[FreezeWindow]:
    """Read windows divided by semicolons. Raises: ValueError: one of them is none."""
    return [parse_window(part.strip()) for part in text.split(";") if part.strip()]


def parse_window(text: str) -> FreezeWindow:
    """Read one window. Raises: ValueError: it is none."""
    try:
        if found := DATED.fullmatch(text):
            begin, end = (datetime.fromisoformat(each) for each in found.groups()[:2])
            window = FreezeWindow(begin, end, ZoneInfo(found[3]), False)
        elif found := WEEKLY.fullmatch(text.lower()):
            begin, end = _place_in_week(*found.groups()[:3]), _place_in_week(*found.groups()[3:6])
            zone = ZoneInfo(text.split()[-1])
            window = FreezeWindow(begin, end if end > begin else end + WEEK, zone, True)
        else:
            raise ValueError(f"a freeze window reads {FORMS}, not {text!r}")
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"freeze window {text!r}: no such time zone") from error
    length = window.end - window.begin
    if length <= timedelta(0) or (window.is_weekly and length >= WEEK):
        raise ValueError(f"freeze window {text!r} must end after it begins, a weekly one within a week")
    return window


def _place_in_week(day: str, hour: str, minute: str) -> datetime:
    if day not in DAYS:
        raise ValueError(f"{day!r} is none of {', '.join(DAYS)}")
    return datetime.fromisoformat(f"2024-01-{1 + DAYS.index(day):02} {hour}:{minute}")


def find_freeze_end(windows: Sequence[FreezeWindow], at: datetime) -> datetime | None:
    """Return until when nothing moves forward, counting windows that follow one another; None if it may."""
    until = at
    while until - at < FURTHEST:
        later = [end for window in windows if (end := window.find_end(until)) is not None]
        if not later:
            break
        until = max(later)
    return until if until > at else None
