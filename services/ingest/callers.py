"""Who sends feedback: a front end with its key, or a browser with the token of the answer it was served."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.auth import KeyRing
from shared.errors import Forbidden
from shared.events import AnyFeedback, Choice
from shared.feedback_tokens import FeedbackToken, FeedbackTokens
from shared.ids import calculate_user_hash

TOKEN_HEADER = "x-heliotrope-feedback-token"
ROLES = ("frontend",)


@dataclass(frozen=True)
class Sender:
    """Events count under `key_id`; with a token also only its user, and only its interactions."""

    key_id: str
    token: FeedbackToken | None = None

    def user(self, user_id: str | None, conversation_id: str | None, secret: str) -> str | None:
        """The keyed hash that stands for the user; a token's user cannot be another."""
        if self.token is not None:
            return self.token.user
        return calculate_user_hash(user_id, conversation_id, secret)

    def check_may_speak_of(self, *interaction_ids: UUID) -> None:
        """Raises: Forbidden."""
        if self.token is not None and not set(interaction_ids) <= set(self.token.interaction_ids):
            raise Forbidden("this feedback token was given for another answer")

    def check_may_say(self, feedback: AnyFeedback, interaction_id: UUID) -> None:
        """A choice speaks of both its answers. Raises: Forbidden."""
        both = (feedback.other_interaction_id,) if isinstance(feedback, Choice) else ()
        self.check_may_speak_of(interaction_id, *both)


class Callers:
    """Knows senders by their headers, whose names are in lower case."""

    def __init__(self, keys: KeyRing, tokens: FeedbackTokens, now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._tokens = tokens
        self._now = now

    def identify(self, headers: Mapping[str, str]) -> Sender:
        """The sender behind the token header, else behind `Authorization`, which may carry a key or a token.

        Raises: Unauthenticated, Forbidden.
        """
        if text := _find_token(headers):
            token = self._tokens.open(text, self._now())
            return Sender(token.key_id, token)
        return self.identify_frontend(headers)

    def identify_frontend(self, headers: Mapping[str, str]) -> Sender:
        """Raises: Unauthenticated, Forbidden."""
        return Sender(self._keys.authorize(headers.get("authorization"), ROLES).key_id)


def _find_token(headers: Mapping[str, str]) -> str | None:
    if text := headers.get(TOKEN_HEADER):
        return text.strip()
    authorization = headers.get("authorization", "")
    if "." not in authorization:  # of keys none has one, of tokens each
        return None
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    return text if scheme.lower() == "bearer" and not text.startswith("hk_") else None
