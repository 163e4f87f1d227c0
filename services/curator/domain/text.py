"""Text as it is compared."""

import re
import unicodedata

from shared.events import Message

SHINGLE_WORDS = 3

Shingles = frozenset[tuple[str, ...]]


def derive_words(text: str) -> list[str]:
    """Words without case and punctuation, compatible characters made one."""
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def derive_shingles(text: str) -> Shingles:
    """Every run of three words; of a shorter text, all its words as one."""
    words = derive_words(text)
    if len(words) < SHINGLE_WORDS:
        return frozenset([tuple(words)]) if words else frozenset()
    return frozenset(tuple(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1))


def calculate_similarity(one: str, other: str) -> float:
    """Jaccard similarity of the two texts' 3-shingles: what MinHash estimates, and cheaper to count for two texts.

    1 for two texts without words.
    """
    a, b = derive_shingles(one), derive_shingles(other)
    return len(a & b) / len(a | b) if a | b else 1.0


def derive_text(message: Message) -> str:
    """The words of one message; of a list of parts, the textual ones."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return ""


def derive_question(messages: list[Message]) -> str:
    """The last user message; of a prompt without one, everything but the system's messages."""
    asked = [derive_text(message) for message in messages if message.get("role") == "user"]
    if asked:
        return asked[-1]
    return "\n".join(derive_text(message) for message in messages if message.get("role") != "system")
