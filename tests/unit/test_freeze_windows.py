"""Freeze windows by the wall clock of their zones."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.deployer.settings import DeployerSettings
from shared.freeze_windows import find_freeze_end, parse_windows

WEEKEND = "fri 16:00 - mon 08:00 Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "now", "until"),
    [
        (WEEKEND, "2026-07-03 13:59", None),  # Friday; Berlin is two hours ahead in summer
        (WEEKEND, "2026-07-03 14:00", "2026-07-06 06:00"),
        (WEEKEND, "2026-07-06 05:59", "2026-07-06 06:00"),
        (WEEKEND, "2026-07-06 06:00", None),
        (WEEKEND, "2026-12-04 15:00", "2026-12-07 07:00"),  # and one in winter
        (WEEKEND, "2026-03-28 12:00", "2026-03-30 06:00"),  # begun in winter, ended in summer
        ("tue 22:00 - wed 02:00 Asia/Kolkata", "2026-07-07 16:30", "2026-07-07 20:30"),
        ("2026-12-20 18:00 - 2027-01-04 08:00 UTC", "2026-12-20 17:59", None),
        ("2026-12-20 18:00 - 2027-01-04 08:00 UTC", "2027-01-01 00:00", "2027-01-04 08:00"),
        (f"{WEEKEND}; mon 06:00 - mon 12:00 Europe/Berlin", "2026-07-04 00:00", "2026-07-06 10:00"),
        ("", "2026-07-04 00:00", None),
    ],
)
def test_until_when_nothing_moves(windows: str, now: str, until: str | None):
    assert find_freeze_end(parse_windows(windows), at(now)) == (until and at(until))


@given(st.integers(0, 6 * 366 * 86_400))
def test_a_weekly_window_freezes_by_the_weekday_and_hour_of_its_zone(seconds: int):
    now = at("2024-01-01 00:00") + timedelta(seconds=seconds)
    hours = now.weekday() * 24 + now.hour + now.minute / 60 + now.second / 3600
    frozen = find_freeze_end(parse_windows("fri 16:00 - mon 08:00 UTC"), now)
    assert (frozen is not None) == (hours >= 4 * 24 + 16 or hours < 8)


def test_windows_without_a_gap_end_somewhere():
    always = "mon 00:00 - thu 00:00 UTC; thu 00:00 - mon 00:00 UTC"
    until = find_freeze_end(parse_windows(always), at("2026-07-04 00:00"))
    assert until is not None
    assert until - at("2026-07-04 00:00") >= timedelta(days=366)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fri 16:00", "a freeze window reads"),
        ("fry 16:00 - mon 08:00 UTC", "'fry' is none of"),
        ("fri 25:00 - mon 08:00 UTC", "hour"),
        ("fri 16:00 - mon 08:00 Europe/Atlantis", "no such time zone"),
        ("fri 16:00 - mon 08:00 ../../etc/passwd", "subdirectories"),
        ("2026-12-20 18:00 - 2026-12-20 18:00 UTC", "must end after it begins"),
        ("2026-13-20 18:00 - 2026-12-20 18:00 UTC", "month"),
    ],
)
def test_what_is_no_window_is_refused_by_the_setting(text: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        DeployerSettings(freeze_windows=text)
