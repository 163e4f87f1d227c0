"""What the handlers need of the world."""

from typing import Any, Protocol

from services.console.domain.people import Assertion


class SessionStore(Protocol):
    """Keeps sessions for a while, by the secret that the browser holds."""

    def load(self, token: str) -> dict[str, Any] | None: ...

    def save(self, token: str, content: dict[str, Any], seconds: float | None) -> None:
        """Keep it for so long; None: for as long as it would have been kept."""

    def delete(self, token: str) -> None: ...


class Asserter(Protocol):
    """Says who a person is, by their sign-in key."""

    def assert_person(self, sign_in_key: str) -> Assertion:
        """Raises: Unauthenticated: no such account, or it is disabled. Unavailable: nobody can say."""
