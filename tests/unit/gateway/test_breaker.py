"""When a model server is left alone, and when it is tried again."""

import pytest

from services.gateway.adapters.breakers import Breakers
from services.gateway.domain.breaker import counts_as_failure
from services.gateway.domain.errors import UpstreamFailed
from shared.events import Route
from tests.builders import make_route

ROUTE, OTHER = make_route("2"), make_route("1")
AWAY = UpstreamFailed("unreachable", "version 2 cannot be reached")


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    """Open after three failures in a row, for ten seconds."""
    breakers = Breakers(max_failures=3, min_users=2, open_seconds=10, monotonic=clock)
    for _ in range(2):
        breakers.settle(ROUTE, AWAY, "ada")
    return breakers


def is_admitted(breakers: Breakers, route: Route = ROUTE) -> bool:
    try:
        breakers.check(route)
    except UpstreamFailed:
        return False
    return True


def test_it_opens_after_failures_in_a_row_for_that_route_only(breakers: Breakers):
    assert is_admitted(breakers)
    breakers.settle(ROUTE, AWAY, "ada")
    assert not is_admitted(breakers)
    assert is_admitted(breakers, OTHER)


def test_an_answer_between_failures_starts_the_count_anew(breakers: Breakers):
    breakers.settle(ROUTE, None, "ada")
    breakers.settle(ROUTE, AWAY, "ada")
    assert is_admitted(breakers)


def test_it_says_when_to_come_back(breakers: Breakers, clock: Clock):
    breakers.settle(ROUTE, AWAY, "ada")
    clock.seconds += 2.5
    with pytest.raises(UpstreamFailed) as refused:
        breakers.check(ROUTE)
    assert (refused.value.reason, refused.value.upstream_status) == ("circuit_open", 503)
    assert refused.value.retry_after == "8"


def test_one_request_tries_again_and_its_success_closes_it(breakers: Breakers, clock: Clock):
    breakers.settle(ROUTE, AWAY, "ada")
    clock.seconds += 10
    assert [is_admitted(breakers) for _ in range(3)] == [True, False, False]
    breakers.settle(ROUTE, None, "ada")
    assert is_admitted(breakers)


def test_a_trial_that_fails_or_is_never_heard_of_again_is_followed_by_another(breakers: Breakers, clock: Clock):
    breakers.settle(ROUTE, AWAY, "ada")
    for settles in (True, False, False):
        clock.seconds += 10
        assert [is_admitted(breakers) for _ in range(2)] == [True, False]
        if settles:
            breakers.settle(ROUTE, AWAY, "ada")


@pytest.mark.parametrize("status, counts", [(None, True), (500, True), (503, True), (429, False), (400, False)])
def test_only_silence_and_server_errors_count(status: int | None, counts: bool):
    assert counts_as_failure(status) is counts


FAILED = UpstreamFailed("status_500", "version 2 answered 500", upstream_status=500)


def test_one_user_whose_requests_fail_closes_nothing_for_the_others(clock: Clock):
    breakers = Breakers(max_failures=3, min_users=2, open_seconds=10, monotonic=clock)
    for _ in range(20):
        breakers.settle(ROUTE, FAILED, "mallory")
    assert is_admitted(breakers)
    breakers.settle(ROUTE, FAILED, "ada")
    assert not is_admitted(breakers)
