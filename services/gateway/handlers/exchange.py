"""One chat request and its replies: who asked, which version was assigned, what was served."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.gateway.domain.assignment import Assignment
from services.gateway.domain.completions import Answer
from services.gateway.domain.errors import UpstreamFailed
from services.gateway.domain.requests import ChatRequest
from shared.events import Route, RoutingTable


@dataclass
class Choice:
    """One answer of a reply: an interaction of its own."""

    index: int
    interaction_id: UUID
    assignment: Assignment
    served: Route = field(init=False)
    fell_back_because: str | None = None
    first_byte_seconds: float | None = None
    total_seconds: float | None = None
    answer: Answer = field(default_factory=Answer)
    failure: UpstreamFailed | None = None

    def __post_init__(self) -> None:
        self.served = self.assignment.route


@dataclass
class Exchange:
    request: ChatRequest
    key_id: str
    user: str | None
    conversation: str | None
    """Keyed hash of the conversation's id."""
    table: RoutingTable
    choices: list[Choice]
    feedback_token: str | None
    """None for a probe, which is answered and not recorded."""
    served_at: datetime
    started: float
    """Monotonic seconds."""
    is_recorded: bool = False
    collected: bool = False
    """Whether a collection request chose the versions, and not the users' assignment."""

    @property
    def is_probe(self) -> bool:
        return self.choices[0].assignment.arm == "probe"

    @property
    def subject(self) -> str:
        """Who asked: the user, else everybody without a name behind the key."""
        return self.user or f"key:{self.key_id}"

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def answered(self) -> list[Choice]:
        """The choices of the reply; one that failed before its first byte is none of them."""
        return [choice for choice in self.choices if choice.first_byte_seconds is not None]

    @property
    def wants_summed_usage(self) -> bool:
        """Whether the client asked for usage at the end of a stream of several choices."""
        options = self.request.body.get("stream_options")
        return len(self.choices) > 1 and isinstance(options, dict) and options.get("include_usage") is True

    def describe(self) -> dict[str, object]:
        """Return the reply's `heliotrope` object."""
        answered = self.answered or self.choices[:1]
        described: dict[str, object] = {
            "interaction_ids": [] if self.is_probe else [str(choice.interaction_id) for choice in answered],
            "feedback_token": self.feedback_token,
            "model_version": answered[0].served.version,
        }
        if self.table.collection is not None and self.table.collection.until > self.served_at and not self.is_probe:
            described["side_by_side_wanted"] = True
        return described
