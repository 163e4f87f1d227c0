"""What the drift monitor needs from the rest of the curator."""

from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from shared.events import Reason
from shared.tables.curator import RetrainRequestRow


class RequestRetrain(Protocol):
    """Opens a request in the caller's transaction.

    Raises:
        Conflict: the loop is paused, a request is open, or no champion is known.
        InvalidRequest: there is nothing to train on.
    """

    def __call__(self, session: Session, *, reasons: list[Reason], now: datetime) -> RetrainRequestRow: ...
