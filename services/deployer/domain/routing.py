"""Routing tables: who is served what, from one generation to the next."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from services.deployer.domain.arms import Arm
from shared.events import Route, RoutingTable, Shadow

replace = msgspec.structs.replace


def first_table(family: str, champion: Route, salt: str) -> RoutingTable:
    return RoutingTable(generation=1, family=family, champion=champion, salt=salt)


def choose_server(table: RoutingTable, servers: Sequence[str]) -> str:
    """Return the first model server that does not serve the champion; the only one, where there is one."""
    return next((server for server in servers if server != table.champion.base_url), servers[0])


def shadowed_table(table: RoutingTable, shadow: Shadow) -> RoutingTable:
    """Have a candidate asked in secret; everybody stays where they are."""
    return replace(table, generation=table.generation + 1, shadow=shadow)


def unshadowed_table(table: RoutingTable) -> RoutingTable:
    """Ask the candidate nothing more; everybody stays where they are."""
    return replace(table, generation=table.generation + 1, shadow=None)


def next_stage_table(
    table: RoutingTable, canary: Route, rollout_id: UUID, *, percent: float, holdback_percent: float
) -> RoutingTable:
    """Put the canary at `percent`. The holdback's slice never sees it; an older holdback ends with the first stage.

    The salt is the rollout's id, so that each rollout draws its users anew and keeps them while it grows.
    """
    return RoutingTable(
        generation=table.generation + 1,
        family=table.family,
        champion=table.champion,
        canary=canary,
        canary_percent=percent,
        holdback_percent=holdback_percent,
        salt=str(rollout_id),
        rollout_id=rollout_id,
    )


def promoted_table(table: RoutingTable) -> RoutingTable:
    """Make the canary the champion; the slice that never saw it stays on the old one.

    Traffic goes on under the rollout's id, so that what the holdback says can still be held against its candidate.
    """
    if table.canary is None:
        raise ValueError("there is no canary to promote")
    return replace(
        table,
        generation=table.generation + 1,
        champion=table.canary,
        canary=None,
        canary_percent=0.0,
        holdback=table.champion if table.holdback_percent else None,
    )


def withdrawn_table(table: RoutingTable) -> RoutingTable:
    """Put everyone back on the champion."""
    return replace(
        table,
        generation=table.generation + 1,
        canary=None,
        canary_percent=0.0,
        holdback=None,
        holdback_percent=0.0,
        rollout_id=None,
        shadow=None,
    )


def restored_table(table: RoutingTable, previous: Route) -> RoutingTable:
    """Put everyone on the previous champion."""
    return replace(withdrawn_table(table), champion=previous)


def renewed_table(table: RoutingTable) -> RoutingTable:
    """Leave everyone where they are."""
    return replace(table, generation=table.generation + 1)


def list_voting_arms(percent: float, holdback_percent: float) -> list[Arm]:
    """Return the arms that have traffic at a stage: at 100% without a holdback, the canary alone."""
    return ["champion", "canary"] if min(percent, 100 - holdback_percent) < 100 else ["canary"]
