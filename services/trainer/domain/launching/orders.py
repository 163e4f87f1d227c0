"""What an engine is asked to start: `heliotrope train` on some machines, everything by address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

RUN_KEY = "HELIOTROPE_RUN_KEY"
"""The variable with the key with which a run's machines seal what they store."""


@dataclass(frozen=True, kw_only=True)
class LaunchOrder:
    """One start of a run. The same order again finds what it started."""

    name: str
    """Of the job at the engine: letters, digits and hyphens, at most 46."""
    arguments: tuple[str, ...]
    """Of the command `heliotrope`."""
    nodes: int = 1
    """Machines."""
    processes: int = 1
    """On each machine."""
    max_seconds: int = 86_400
    """After which the engine ends it, though nobody watches."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """No secrets but the run's own key: engines show it to whoever may read a job."""


@dataclass(frozen=True)
class Pinned:
    """An artifact's address, and what its manifest must hash to; None: whatever."""

    uri: str
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where a run's things are."""

    base: Pinned
    dataset: Pinned
    output: str


def name_job(run_id: UUID, number: int) -> str:
    """Name the job of a run's `number`th start: the same at every try, so that none is started twice."""
    return f"heliotrope-{run_id.hex}-{number}"


def write_arguments(
    recipe: Pinned, where: Addresses, number: int, *, threads: int, max_seconds: int, trusted: Sequence[str] = ()
) -> tuple[str, ...]:
    """Write the command line that trains by address, and ends itself in time.

    `trusted`: public keys, one of which must have sealed the run's checkpoints.
    """
    places = {"base": where.base, "dataset": where.dataset, "recipe": recipe}
    pins = [(f"--{name}-sha256", place.sha256) for name, place in places.items() if place.sha256]
    return (
        *("train", recipe.uri, "--base", where.base.uri, "--dataset", where.dataset.uri),
        *(word for pin in pins for word in pin),
        *(word for key in trusted for word in ("--trust", key)),
        *("--output", where.output, "--attempt", str(number), "--threads", str(threads)),
        *("--max-seconds", str(max_seconds)),
    )
