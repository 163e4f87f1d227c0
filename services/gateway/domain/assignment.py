"""Assign a user to a version."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from shared.events import Route, RoutingTable

LEADS_ELSEWHERE = re.compile(r"[?#\\\s]|/\.|%2[eEfF]|%5[cC]")
"""What makes another path of an address that begins as an allowed one: a query, a fragment, dot segments."""

Arm = Literal["champion", "canary", "holdback", "probe"]


@dataclass(frozen=True)
class Assignment:
    """The version that the table assigns to a user, and the probability with which it does."""

    arm: Arm
    route: Route
    propensity: float

    @property
    def may_fall_back(self) -> bool:
        return self.arm in ("canary", "holdback")


def calculate_bucket(salt: str, subject: str) -> float:
    """Return a number in [0, 100), uniform over subjects, fixed for one subject while the salt stands."""
    digest = hashlib.sha256(f"{salt}:{subject}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 * 100


def assign(table: RoutingTable, subject: str) -> Assignment:
    """Return the arm of a subject.

    - below the canary's share, which never reaches into the holdback's top slice: the canary;
    - in the top slice, once the holdback is served: the holdback;
    - else the champion.

    Shares nest, so nobody leaves the canary while it grows.
    """
    bucket = calculate_bucket(table.salt, subject)
    canary_share = min(table.canary_percent, 100 - table.holdback_percent) if table.canary else 0.0
    holdback_share = table.holdback_percent if table.holdback else 0.0
    if table.canary and bucket < canary_share:
        return Assignment("canary", table.canary, canary_share / 100)
    if table.holdback and bucket >= 100 - holdback_share:
        return Assignment("holdback", table.holdback, holdback_share / 100)
    return Assignment("champion", table.champion, (100 - canary_share - holdback_share) / 100)


def compare(table: RoutingTable, subject: str, now: datetime) -> list[Assignment] | None:
    """Return champion and canary for two answers side by side, in an order that the subject's hash decides.

    None, and so the user's arm for both, without a collection request in force or without a canary.
    """
    if table.canary is None or table.collection is None or table.collection.until <= now:
        return None
    sides = [Assignment("champion", table.champion, 1.0), Assignment("canary", table.canary, 1.0)]
    return sides if calculate_bucket("side by side", subject) < 50 else sides[::-1]


def is_newer(table: RoutingTable, than: RoutingTable | None) -> bool:
    """Return whether a table replaces the one in force."""
    return than is None or (table.epoch, table.generation) > (than.epoch, than.generation)


def are_allowed(table: RoutingTable, base_urls: Sequence[str]) -> bool:
    """Return whether every model server of the table is on the deployment's list; an empty list allows any."""
    return not base_urls or all(_is_below(route.base_url, base_urls) for route in list_routes(table))


def _is_below(url: str, base_urls: Sequence[str]) -> bool:
    below = any(f"{url.rstrip('/')}/".startswith(f"{base.rstrip('/')}/") for base in base_urls)
    return below and not LEADS_ELSEWHERE.search(url)


def keep_champion(table: RoutingTable) -> RoutingTable:
    """Return the table with the champion for everybody: no rollout's evidence comes of it."""
    return msgspec.structs.replace(
        table,
        canary=None,
        canary_percent=0.0,
        holdback=None,
        holdback_percent=0.0,
        rollout_id=None,
        collection=None,
        shadow=None,
    )


def list_routes(table: RoutingTable) -> list[Route]:
    """List every version that is asked now, the one in its shadow too."""
    shadow = table.shadow.route if table.shadow else None
    return [route for route in (table.champion, table.canary, table.holdback, shadow) if route is not None]


def find_version(table: RoutingTable, version: str) -> Route | None:
    return next((route for route in list_routes(table) if route.version == version), None)


def should_fall_back(status: int | None) -> bool:
    """Return whether the champion may do better than a version that failed before its first byte.

    Not when the model server found fault with the request itself (400, 413, 415, 422); None stands for no answer.
    """
    return status not in {400, 413, 415, 422}
