"""Admit a chat request: what a key and a user may ask for, and what fits the model."""

from dataclasses import dataclass

from services.gateway.domain.completions import Answer
from services.gateway.domain.context import check_context, count_least_tokens
from services.gateway.domain.requests import ChatRequest
from services.gateway.handlers.exchange import Exchange
from shared.rate_limits import RateLimiter


@dataclass(frozen=True)
class Admission:
    """Limits per process: requests of a key and of a user per second, tokens of a key per day."""

    key_requests: RateLimiter
    user_requests: RateLimiter
    key_tokens: RateLimiter
    context_tokens: int

    def check(self, request: ChatRequest, key_id: str, user: str | None) -> None:
        """Raises: RateLimited, ContextLengthExceeded."""
        check_context(request, self.context_tokens)
        self.key_requests.take(key_id, request.choices)
        if user is not None:
            self.user_requests.take(user, request.choices)
        self.key_tokens.take(key_id, 1)

    def charge(self, exchange: Exchange) -> None:
        """Subtract the tokens that the answers cost from the key's budget; at least, where no server counted them."""
        prompt = count_least_tokens(exchange.request)
        tokens = sum(_count(choice.answer, prompt) for choice in exchange.choices)
        self.key_tokens.charge(exchange.key_id, tokens - 1)


def _count(answer: Answer, prompt: int) -> int:
    counted = answer.completion_tokens
    return (answer.prompt_tokens or prompt) + (len(answer.text.split()) if counted is None else counted)
