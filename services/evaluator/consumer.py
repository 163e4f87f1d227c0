"""What the evaluator does with the events it consumes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from services.evaluator.handlers.creation import create_evaluation
from services.evaluator.settings import EvaluatorSettings
from shared.events import AnyEvent, TrainingCompleted


@dataclass(frozen=True)
class TrainingConsumer:
    """Opens an evaluation for each run that left a candidate."""

    family: str
    settings: EvaluatorSettings
    clock: Callable[[], datetime]

    def prepare(self, session: Session, events: list[AnyEvent]) -> None:
        """Take no locks: the table's unique key on the request is enough."""

    def handle(self, session: Session, event: AnyEvent) -> None:
        if isinstance(event, TrainingCompleted):
            create_evaluation(session, event, family=self.family, settings=self.settings, now=self.clock())

    def finish(self, session: Session, events: list[AnyEvent]) -> None:
        """Do nothing: each event was handled by itself."""
