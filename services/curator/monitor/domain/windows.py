"""Windows of a champion's reign: whole periods, counted from the epoch, the first after the promotion."""

import math
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GRACE_SHARE = 1 / 24
LONGEST_GRACE = timedelta(minutes=10)
CLOSED_AT_ONCE = 50
"""Windows in one look: what was missed while the monitor was away is caught up over several."""


class Span(NamedTuple):
    """Half open: `ended_at` is not in it."""

    began_at: datetime
    ended_at: datetime


def list_due(since: datetime, last: datetime | None, period: timedelta, now: datetime) -> list[Span]:
    """List the windows to close now, in order.

    A window is due a little after its end, so that what was received in it has been stored; what is later than that is
    left out, wherever it would have belonged.

    Args:
        since: when the reign began.
        last: when the last closed window began.
    """
    number = math.ceil((since - EPOCH) / period) if last is None else round((last - EPOCH) / period) + 1
    grace = min(period * GRACE_SHARE, LONGEST_GRACE)
    through = math.floor((now - grace - EPOCH) / period)
    places = range(number, min(through, number + CLOSED_AT_ONCE))
    return [Span(EPOCH + place * period, EPOCH + (place + 1) * period) for place in places]
