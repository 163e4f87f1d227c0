"""A circuit breaker (Nygard, Release It!, section 5.2): a server that keeps failing is left alone for a while."""

from dataclasses import dataclass, field


@dataclass
class Breaker:
    """Opens after so many failures in a row, of so many users; lets one request try again every `open_seconds`.

    A single user cannot open it, whose requests may be what fails; a server that cannot be reached counts for everyone.
    """

    max_failures: int
    min_users: int
    open_seconds: float
    failures: int = 0
    retry_at: float = 0.0
    _users: set[str] = field(default_factory=set)
    _is_away: bool = False

    @property
    def is_open(self) -> bool:
        return self.failures >= self.max_failures and (self._is_away or len(self._users) >= self.min_users)

    def admit(self, now: float) -> bool:
        """Return whether a request may go. While the breaker is open, the one that may is the trial, the only one."""
        if not self.is_open:
            return True
        if now < self.retry_at:
            return False
        self.retry_at = now + self.open_seconds
        return True

    def fail(self, now: float, user: str, *, is_away: bool) -> None:
        self.failures += 1
        self._is_away = self._is_away or is_away
        if len(self._users) < self.min_users:
            self._users.add(user)
        if self.is_open:
            self.retry_at = now + self.open_seconds


def counts_as_failure(status: int | None) -> bool:
    """Return whether an answer is a failure: none (None), or a server error; 429 shows that the server lives."""
    return status is None or status >= 500
