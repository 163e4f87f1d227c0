"""Refuse a prompt that cannot fit the model's context, before a model server has to."""

from typing import Any

from services.gateway.domain.errors import ContextLengthExceeded
from services.gateway.domain.requests import ChatRequest

LONGEST_TOKEN = 16
"""Characters; a word that is longer is several tokens for every tokenizer in use."""
CHARACTERS_PER_TOKEN = 3
"""Beyond ASCII: no tokenizer in use packs more of them into a token on average."""


def check_context(request: ChatRequest, context_tokens: int) -> None:
    """Check that the prompt, with the answer that is asked for, may fit. `context_tokens` 0: the length is not known.

    Counts the fewest tokens that the text can be, so that nothing is refused that would fit; the model server refuses
    what is between that and the truth.

    Raises: ContextLengthExceeded.
    """
    if not context_tokens:
        return
    prompt = count_least_tokens(request)
    asked = request.body.get("max_completion_tokens") or request.body.get("max_tokens") or 1
    asked = asked if isinstance(asked, int) else 1
    if prompt + asked > context_tokens:
        raise ContextLengthExceeded(
            f"the context is {context_tokens} tokens; the messages are at least {prompt}, and {asked} are asked for",
            param="messages",
        )


def count_least_tokens(request: ChatRequest) -> int:
    """Return the fewest tokens that the messages' texts can be."""
    return sum(_count_least(message.get("content")) for message in request.messages)


def _count_least(content: Any) -> int:
    """Return the fewest tokens of a message's text: a word is at least one, and long ones are more."""
    if isinstance(content, list):
        return sum(_count_least(part.get("text")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        return 0
    if content.isascii():
        return sum(1 + len(word) // LONGEST_TOKEN for word in content.split())
    foreign = sum(not character.isascii() for character in content)
    return max(foreign // CHARACTERS_PER_TOKEN, len(content.split()))
