"""Conversations and feedback as people read them."""

from dataclasses import dataclass
from typing import Any

from shared.conversation import derive_text


@dataclass(frozen=True)
class Turn:
    role: str
    text: str


def list_turns(messages: list[dict[str, Any]]) -> list[Turn]:
    """Return what was said, tool calls included."""
    return [Turn(str(message.get("role", "")), derive_text(message) or _tell_calls(message)) for message in messages]


def _tell_calls(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls") or []
    names = [str((call.get("function") or {}).get("name", "a tool")) for call in calls if isinstance(call, dict)]
    return f"calls {', '.join(names)}" if names else ""


def tell_question(messages: list[dict[str, Any]]) -> str:
    """Return what was asked last."""
    asked = [turn.text for turn in list_turns(messages) if turn.role == "user"]
    return asked[-1] if asked else ""


def tell_feedback(event: dict[str, Any]) -> tuple[str, str]:
    """Return (what a reaction says in a few words, what its user wrote)."""
    said = event.get("feedback") or {}
    kind, value = str(said.get("type", "")), said.get("value")
    told = {
        "thumb": f"thumb {value}",
        "rating": f"rated {value} of 5",
        "choice": "found both alike" if said.get("tie") else "preferred one of two",
        "edit": "wrote it better",
        "regenerate": "asked for another answer",
        "complaint": f"complained: {str(said.get('category', '')).replace('_', ' ')}",
        "comment": "commented",
        "retract": "took it back",
    }.get(kind, kind)
    return told, str(said.get("text") or "")
