"""What the messages of a conversation say, as text."""

from collections.abc import Sequence

from shared.events import Message


def derive_text(message: Message) -> str:
    """The text of one message; of a list of parts, the textual ones, one a line."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return ""


def derive_question(messages: Sequence[Message]) -> str:
    """The text of the last user message; of a prompt without one, of everything but the system's messages."""
    asked = [derive_text(message) for message in messages if message.get("role") == "user"]
    if asked:
        return asked[-1]
    return "\n".join(derive_text(message) for message in messages if message.get("role") != "system")


def derive_dialogue(messages: Sequence[Message]) -> str:
    """The text of everything that was said by others than the system, one message a line, empty ones left out."""
    return "\n".join(text for message in messages if message.get("role") != "system" if (text := derive_text(message)))
