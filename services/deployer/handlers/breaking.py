"""The breaker's looks at a rollout, each of which is paid for."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from services.deployer.domain.breaker import Breaker, could_break, has_nobody_to_wait_for, is_due
from services.deployer.domain.limits import Limits
from services.deployer.repository.exposures import measure_breaker
from shared.tables.deployer import Rollout


def take_look(
    session: Session, rollout: Rollout, limits: Limits, place: int, *, since: datetime, now: datetime
) -> Breaker:
    """Return what the breaker sees of a stage that began at `since`, and note in the rollout that it looked.

    Between two looks its level is 0. Answers of an earlier stage, whose shares were others, are not seen.
    """
    name = "holdback_looks" if place == len(limits.stages) else "breaker_looks"
    noted = rollout.evidence.get(name) or {"taken": 0, "through": since.isoformat()}
    through = datetime.fromisoformat(noted["through"])
    breaker, newest = measure_breaker(session, rollout, limits.breaker_window, since=since, after=through)
    share, level = limits.calculate_canary_share(place), limits.calculate_breaker_level(noted["taken"])
    breaker = replace(breaker, is_alone=has_nobody_to_wait_for(breaker, share, limits))
    if not (is_due(breaker, limits) and could_break(breaker, level, limits)):
        return breaker
    looks = {"taken": noted["taken"] + 1, "through": min(newest, now).isoformat()}
    rollout.evidence = rollout.evidence | {name: looks}
    return replace(breaker, level=level)
