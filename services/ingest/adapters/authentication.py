"""Who submits an event: a front end with its key, or a browser with the token of the answer it was served."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.auth import KeyRing
from shared.errors import Forbidden
from shared.events import AnyFeedback, Choice
from shared.feedback_tokens import FeedbackToken, FeedbackTokens
from shared.user_hashes import UserHashes

TOKEN_HEADER = "x-heliotrope-feedback-token"
ROLES = ("frontend",)


@dataclass(frozen=True)
class Principal:
    """The authenticated caller. Its events count under `key_id`; a token restricts it to its user and answers."""

    key_id: str
    token: FeedbackToken | None = None

    @property
    def budget(self) -> str:
        """Whose rate its events count against: the key's, or that of the token's user or first answer."""
        if self.token is None:
            return self.key_id
        return f"{self.key_id}:{self.token.user or self.token.interaction_ids[0]}"

    def draw_user(self, user_id: str | None, conversation_id: str | None, hashes: UserHashes) -> str | None:
        """Return what stands for the user at the start of the chain of secrets.

        A token's user cannot be another, and stands as they did when it was given.
        """
        if self.token is not None:
            return self.token.user
        return hashes.draw(user_id, conversation_id)

    def check_interactions(self, *interaction_ids: UUID) -> None:
        """Check that a token was given for these answers. Raises: Forbidden."""
        if self.token is not None and not set(interaction_ids) <= set(self.token.interaction_ids):
            raise Forbidden("this feedback token was given for another answer")

    def check_feedback(self, feedback: AnyFeedback, interaction_id: UUID) -> None:
        """Check that a token was given for each answer that the feedback names. Raises: Forbidden."""
        both = (feedback.other_interaction_id,) if isinstance(feedback, Choice) else ()
        self.check_interactions(interaction_id, *both)


class Authenticator:
    """Finds the principal behind a request's headers, whose names are in lower case."""

    def __init__(self, keys: KeyRing, tokens: FeedbackTokens, now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._tokens = tokens
        self._now = now

    def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Return the caller behind the token header, else behind `Authorization`, which may carry a key or a token.

        Raises: Unauthenticated, Forbidden.
        """
        if text := _find_token(headers):
            token = self._tokens.open(text, self._now())
            self._keys.check_valid(token.key_id)
            return Principal(token.key_id, token)
        return self.authenticate_key(headers)

    def authenticate_key(self, headers: Mapping[str, str]) -> Principal:
        """Return the front end behind `Authorization`. Raises: Unauthenticated, Forbidden."""
        return Principal(self._keys.authorize(headers.get("authorization"), ROLES).key_id)


def _find_token(headers: Mapping[str, str]) -> str | None:
    if text := headers.get(TOKEN_HEADER):
        return text.strip()
    authorization = headers.get("authorization", "")
    if "." not in authorization:  # no key has one, every token does
        return None
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    return text if scheme.lower() == "bearer" and not text.startswith("hk_") else None
