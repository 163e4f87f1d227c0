"""Answers that were served without Heliotrope's gateway: recorded, so that feedback on them rests on something."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4, uuid5

NAMESPACE = UUID("b0a5e6b4-8f0c-5a51-9c0e-5d1f3b0a7c11")
"""Of ids that follow from a reply's own id."""


def derive_interaction_id(reply_id: str, index: int = 0) -> UUID:
    """Derive the id of a reply's choice: whoever has the reply's own id knows it, and a repetition has the same."""
    return uuid5(NAMESPACE, f"{reply_id}\0{index}")


@dataclass(frozen=True)
class Interaction:
    """One answer, and all that the model saw before it, in the shape of OpenAI's messages."""

    messages: Sequence[dict[str, Any]]
    answer: str
    model_version: str
    user_id: str | None = None
    conversation_id: str | None = None
    metadata: dict[str, Any] | None = None
    interaction_id: UUID = field(default_factory=uuid4)
    served_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    path: ClassVar[str] = "/v1/interactions"

    @property
    def item_id(self) -> UUID:
        return self.interaction_id

    def content(self) -> dict[str, Any]:
        """Return what is kept in a queue, and posted."""
        said = {"user_id": self.user_id, "conversation_id": self.conversation_id, "metadata": self.metadata}
        return {
            "interaction_id": str(self.interaction_id),
            "messages": list(self.messages),
            "answer": self.answer,
            "model_version": self.model_version,
            "served_at": self.served_at.isoformat(),
            **{name: value for name, value in said.items() if value is not None},
        }

    def body(self) -> dict[str, Any]:
        return self.content()

    @classmethod
    def restore(cls, content: dict[str, Any]) -> "Interaction":
        """Make it of its `content()`."""
        own = {"interaction_id": UUID(content["interaction_id"])}
        return cls(**{**content, **own, "served_at": datetime.fromisoformat(content["served_at"])})
