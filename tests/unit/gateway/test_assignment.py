"""Who is served what, over many users."""

import itertools
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.assignment import (
    assign,
    calculate_bucket,
    compare,
    find_version,
    list_routes,
    should_fall_back,
)
from shared.events import Collection, RoutingTable
from tests.builders import make_route, make_routing

USERS = [f"user-{number}" for number in range(20_000)]


def table(
    percent: float = 0, holdback_percent: float = 0, *, canary: bool = True, holdback: bool = False
) -> RoutingTable:
    return make_routing(
        salt="rollout 7",
        canary=make_route("2") if canary else None,
        canary_percent=percent,
        holdback=make_route("0") if holdback else None,
        holdback_percent=holdback_percent,
    )


def members(table: RoutingTable, arm: str) -> set[str]:
    return {user for user in USERS if assign(table, user).arm == arm}


@pytest.mark.parametrize("percent", [1, 5, 25, 50, 95])
def test_the_canary_gets_its_share_of_users(percent: float):
    share = len(members(table(percent), "canary")) / len(USERS)
    assert share == pytest.approx(percent / 100, abs=0.012)


def test_buckets_are_uniform():
    counts = [0] * 10
    for user in USERS:
        counts[int(calculate_bucket("salt", user) // 10)] += 1
    expected = len(USERS) / 10
    assert sum((count - expected) ** 2 / expected for count in counts) < 27.9  # chi-square, 9 df, p = 0.001


@given(st.text(), st.text())
def test_a_bucket_lies_in_its_range(salt: str, subject: str):
    assert 0 <= calculate_bucket(salt, subject) < 100


def test_nobody_leaves_the_canary_while_it_grows():
    stages = [members(table(percent, holdback_percent=5), "canary") for percent in (1, 5, 25, 50, 100)]
    for smaller, larger in itertools.pairwise(stages):
        assert smaller < larger


def test_another_rollout_draws_other_users():
    first = {user for user in USERS if calculate_bucket("rollout 7", user) < 10}
    second = {user for user in USERS if calculate_bucket("rollout 8", user) < 10}
    assert len(first & second) / len(first) == pytest.approx(0.1, abs=0.04)


def test_the_holdback_never_sees_the_canary_and_stays_when_it_is_promoted():
    during = table(percent=100, holdback_percent=5)
    after = table(canary=False, holdback=True, holdback_percent=5)
    spared = members(during, "champion")
    assert len(spared) / len(USERS) == pytest.approx(0.05, abs=0.01)
    assert members(after, "holdback") == spared
    assert members(after, "champion") == members(during, "canary")


@pytest.mark.parametrize(
    "routing, expected",
    [
        (table(canary=False), {"champion": 1.0}),
        (table(percent=25), {"canary": 0.25, "champion": 0.75}),
        (table(percent=100, holdback_percent=5), {"canary": 0.95, "champion": 0.05}),
        (table(canary=False, holdback=True, holdback_percent=10), {"holdback": 0.1, "champion": 0.9}),
    ],
)
def test_propensity_is_the_share_of_the_arm(routing: RoutingTable, expected: dict[str, float]):
    assigned = [assign(routing, user) for user in USERS[:2_000]]
    assert {one.arm: pytest.approx(one.propensity) for one in assigned} == expected


def test_a_percentage_without_a_canary_serves_the_champion():
    assert members(table(percent=50, canary=False), "champion") == set(USERS)


def test_versions_in_service_can_be_found():
    routing = table(percent=5, holdback=True, holdback_percent=5)
    assert [one.version for one in list_routes(routing)] == ["1", "2", "0"]
    assert find_version(routing, "2") == make_route("2")
    assert find_version(routing, "9") is None


def test_only_a_fault_of_the_server_is_worth_another_try():
    assert [status for status in (None, 500, 503, 429, 404, 401) if not should_fall_back(status)] == []
    assert [status for status in (400, 413, 422) if should_fall_back(status)] == []


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def collecting(table: RoutingTable, until: datetime) -> RoutingTable:
    return msgspec.structs.replace(table, collection=Collection(until=until))


def test_a_collection_request_puts_champion_and_canary_side_by_side_in_either_order():
    routing = collecting(table(5), NOW + timedelta(hours=1))
    orders = [tuple(side.route.version for side in compare(routing, user, NOW) or []) for user in USERS[:2_000]]
    assert set(orders) == {("1", "2"), ("2", "1")}
    assert abs(orders.count(("1", "2")) - 1_000) < 116  # 2.6 standard deviations, p = 0.01


@pytest.mark.parametrize(
    "routing", [table(5), collecting(table(5), NOW), collecting(table(5, canary=False), NOW + timedelta(hours=1))]
)
def test_without_a_request_in_force_or_a_canary_nothing_is_compared(routing: RoutingTable):
    assert compare(routing, "ada", NOW) is None
