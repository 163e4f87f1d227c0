"""Who is charged for a sign-in that failed: who sent a wrong key, and nobody while keys cannot be looked at."""

import pytest

from services.console.handlers.signing_in import Turnstile
from shared.errors import Unauthenticated, Unavailable
from shared.rate_limits import RateLimit, RateLimited, RateLimiter

ADDRESS, KEY = "203.0.113.9", "a key"


def try_key(turnstile: Turnstile, failure: Exception | None = None, key: str = KEY) -> None:
    with turnstile.passing(ADDRESS, key):
        if failure:
            raise failure


@pytest.fixture
def turnstile() -> Turnstile:
    return Turnstile(RateLimiter(RateLimit(0.001, 2), lambda: 0.0))


def test_an_outage_charges_nobody(turnstile: Turnstile):
    for _ in range(5):
        with pytest.raises(Unavailable):
            try_key(turnstile, Unavailable("the deployer does not answer"))
    try_key(turnstile)


def test_wrong_keys_are_charged_until_no_more_pass(turnstile: Turnstile):
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            try_key(turnstile, Unauthenticated("no account has this key"))
    with pytest.raises(RateLimited):
        try_key(turnstile)


def test_a_key_that_came_in_before_passes_where_wrong_ones_were_sent(turnstile: Turnstile):
    try_key(turnstile)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            try_key(turnstile, Unauthenticated("no account has this key"), key="another")
    try_key(turnstile)
