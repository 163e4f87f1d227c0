"""What the drift monitor needs from the rest of the curator."""

from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from services.curator.datasets.domain.snapshot import Preview
from shared.events import Reason
from shared.tables.curator import RetrainRequestRow


class RequestRetrain(Protocol):
    """Opens a request in the caller's transaction.

    Raises:
        UnchangedDataset: a model was trained on the same rows already, or they failed too often.
        Conflict: the loop is paused, a request is open, or no champion is known.
        InvalidRequest: there is nothing to train on.
    """

    def __call__(self, session: Session, *, reasons: list[Reason], now: datetime) -> RetrainRequestRow: ...


class PreviewDataset(Protocol):
    """Finds what a dataset frozen now would hold, and saves what was set aside for people."""

    def __call__(self, session: Session, *, parent_version: str, now: datetime) -> Preview: ...
