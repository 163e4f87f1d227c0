"""A circuit breaker (Nygard, Release It!, section 5.2): a server that keeps failing is left alone for a while."""

from dataclasses import dataclass


@dataclass
class Breaker:
    """Opens after so many failures in a row; then lets one request try every `open_seconds`, until one succeeds."""

    max_failures: int
    open_seconds: float
    failures: int = 0
    retry_at: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.failures >= self.max_failures

    def admit(self, now: float) -> bool:
        """Whether a request may go; one that goes while the breaker is open is the trial, and the only one for now."""
        if not self.is_open:
            return True
        if now < self.retry_at:
            return False
        self.retry_at = now + self.open_seconds
        return True

    def fail(self, now: float) -> None:
        self.failures += 1
        if self.is_open:
            self.retry_at = now + self.open_seconds


def counts_as_failure(status: int | None) -> bool:
    """No answer (None) and server errors count; what a server says of a request, 429 too, shows that it lives."""
    return status is None or status >= 500
