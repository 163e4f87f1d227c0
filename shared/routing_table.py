"""The routing table: who is served what; `RolloutAdvanced` carries it whole."""

from datetime import datetime
from uuid import UUID

import msgspec


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where a registered version is served: an OpenAI-compatible base URL and the model name to ask it for."""

    version: str
    model: str
    base_url: str


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """A collection request: evidence is too scarce, so two answers to one request come from champion and canary."""

    until: datetime


USER_GROUPS = 1_000
"""Of those who ask while a candidate is in its shadow: enough to see that several do, too few to name one."""


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that is asked what the champion has answered: nobody sees what it says."""

    route: Route
    percent: float
    """Of the champion's answers."""
    rollout_id: UUID


class RoutingTable(msgspec.Struct, frozen=True, kw_only=True):
    """Who is served what. A user's bucket is a number in [0, 100) from `salt` and the user.

    Of two tables the one with the higher (epoch, generation) stands; a restored backup raises the epoch.
    Below `canary_percent` (but never in the holdback's top slice): the canary. In the top `holdback_percent`: the
    holdback, if there is one. Else the champion. Buckets nest, so that nobody flips while a stage grows.
    """

    generation: int
    family: str
    champion: Route
    salt: str
    canary: Route | None = None
    canary_percent: float = 0.0
    holdback: Route | None = None
    holdback_percent: float = 0.0
    rollout_id: UUID | None = None
    collection: Collection | None = None
    epoch: int = 0
    shadow: Shadow | None = None
    signature: str | None = None
    """The deployer's, over all the rest (`shared.routing`)."""
