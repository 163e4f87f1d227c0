"""What counts whole tables is done the more seldom the longer it takes."""

from datetime import UTC, datetime, timedelta

from services.curator.app.handlers import Pace

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_two_seconds_of_counting_are_followed_by_a_hundred_without():
    pace = Pace()
    assert pace.is_due(NOON)
    pace.note(NOON, NOON + 2 * SECOND)
    assert not pace.is_due(NOON + 101 * SECOND)
    assert pace.is_due(NOON + 102 * SECOND)


def test_what_costs_nothing_is_due_at_once():
    pace = Pace()
    pace.note(NOON, NOON)
    assert pace.is_due(NOON)
