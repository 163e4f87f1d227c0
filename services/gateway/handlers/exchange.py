"""One chat request on its way: who asked, what was meant, what was served."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.gateway.domain.assignment import Assignment
from services.gateway.domain.completions import Answers
from services.gateway.domain.requests import ChatRequest
from shared.events import Route, RoutingTable


@dataclass
class Exchange:
    request: ChatRequest
    key_id: str
    user: str | None
    assignment: Assignment
    table: RoutingTable
    interaction_ids: list[UUID]
    feedback_token: str | None
    """None for a probe, which is answered and not recorded."""
    served_at: datetime
    started: float
    """Monotonic seconds."""
    served: Route = field(init=False)
    fell_back_because: str | None = None
    first_byte_seconds: float | None = None
    answers: Answers = field(default_factory=Answers)

    def __post_init__(self) -> None:
        self.served = self.assignment.route

    @property
    def is_probe(self) -> bool:
        return self.assignment.arm == "probe"

    @property
    def recorded_ids(self) -> list[UUID]:
        """One interaction per choice that came; one, too, when none did."""
        if self.is_probe:
            return []
        count = max(self.answers.choices, default=0) + 1
        return self.interaction_ids[:count]

    def describe(self) -> dict[str, object]:
        """What a reply tells about itself under `heliotrope`."""
        return {
            "interaction_ids": [str(interaction_id) for interaction_id in self.recorded_ids],
            "feedback_token": self.feedback_token,
            "model_version": self.served.version,
        }
