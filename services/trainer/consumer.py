"""What the trainer does with the events it consumes."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.trainer.handlers.requests import request_run
from services.trainer.ports import LoadRecipe
from shared.events import AnyEvent, RetrainRequested


@dataclass(frozen=True)
class RetrainHandler:
    """`retrain.requested` -> one run for each request."""

    load_recipe: LoadRecipe
    default_recipe: str
    topic_prefix: str

    def prepare(self, session: Session, events: list[AnyEvent]) -> None:
        """Lock nothing: a request has one run by its unique key."""

    def handle(self, session: Session, event: AnyEvent) -> None:
        """Queue a run for the request."""
        if isinstance(event, RetrainRequested):
            request_run(
                session,
                event,
                self.load_recipe,
                default_recipe=self.default_recipe,
                topic_prefix=self.topic_prefix,
            )

    def finish(self, session: Session, events: list[AnyEvent]) -> None:
        """Do nothing: the sweeper enqueues what was committed."""
