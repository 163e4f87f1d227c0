"""The breaker's looks at a rollout, each of which is paid for."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from services.deployer.domain.breaker import Breaker, is_due
from services.deployer.domain.limits import Limits
from services.deployer.repository.exposures import measure_breaker
from shared.tables.deployer import Rollout


def take_look(session: Session, rollout: Rollout, limits: Limits, place: int, since: datetime) -> Breaker:
    """Return what the breaker sees of a stage that began at `since`, and note in the rollout that it looked.

    Between two looks its level is 0. Answers of an earlier stage, whose shares were others, are not seen.
    """
    noted = rollout.evidence.get("breaker_looks") or {"taken": 0, "through": since.isoformat()}
    through = datetime.fromisoformat(noted["through"])
    breaker, newest = measure_breaker(session, rollout, limits.breaker_window, since=since, after=through)
    if is_due(breaker, limits):
        breaker = replace(breaker, level=limits.calculate_breaker_level(noted["taken"]))
        looks = {"taken": noted["taken"] + 1, "through": newest.isoformat()}
        rollout.evidence = rollout.evidence | {"breaker_looks": looks}
    return replace(breaker, is_alone=limits.calculate_canary_share(place) >= 1)
