"""What an engine is asked to start: `heliotrope train` on some machines, everything by address."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID


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
    """No secrets: engines show it to whoever may read a job."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where a run's things are."""

    base: str
    base_sha256: str | None
    dataset: str
    output: str


def name_job(run_id: UUID, number: int) -> str:
    """Name the job of a run's `number`th start: the same at every try, so that none is started twice."""
    return f"heliotrope-{run_id.hex}-{number}"


def write_arguments(recipe: str, where: Addresses, number: int, threads: int, max_seconds: int) -> tuple[str, ...]:
    """Write the command line that trains by address, and ends itself in time."""
    known = ("--base-sha256", where.base_sha256) if where.base_sha256 else ()
    return (
        *("train", recipe, "--base", where.base, *known, "--dataset", where.dataset),
        *("--output", where.output, "--attempt", str(number), "--threads", str(threads)),
        *("--max-seconds", str(max_seconds)),
    )
