"""How a run that trained elsewhere ended: its own word goes first, then the engine's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from services.trainer.domain.training import CAUSES, Cause, TrainingResult
from shared.errors import HeliotropeError

State = Literal["pending", "running", "succeeded", "failed", "evicted", "lost", "cancelled", "gone"]
"""What an engine says of a job.

`evicted`: it took the machine away, or lost it; `lost`: a machine ended, and only its own words may say why;
`cancelled`: somebody stopped it at the engine; `gone`: the engine knows of no such job."""
OVER: tuple[State, ...] = ("succeeded", "failed", "evicted", "lost", "cancelled", "gone")
TAIL_CHARACTERS = 600
"""Of a log, in a run's reason."""


LOST_PEER = 75
"""Exit status of `heliotrope train` on one of several machines when something ended that it cannot explain: another one
may be gone, so its own end says nothing (sysexits' EX_TEMPFAIL)."""


class PeerLost(HeliotropeError):
    """One of several machines ended without knowing why: another may have been taken away."""

    title = "Another machine may be gone"


class OutcomeUnsent(PeerLost):
    """A run ended and could not store how. What it has on this machine's disk is all there is."""

    title = "Outcome not stored"


class LauncherUnavailable(HeliotropeError):
    """The engine does not answer. Trying again may help."""

    title = "Launcher unavailable"


class LauncherDenied(HeliotropeError):
    """The engine refuses our credentials. Trying again would not help."""

    title = "Launcher denied"


class LauncherRefused(HeliotropeError):
    """The engine takes no such job: its configuration or the recipe is wrong."""

    title = "Launcher refused"


class QuotaReached(HeliotropeError):
    """The engine has no room for the run just now."""

    title = "Quota reached"


@dataclass(frozen=True)
class RemoteRun:
    """A job as its engine shows it."""

    state: State
    reason: str = ""
    log_url: str | None = None
    """A page for people, where the engine has one."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.state in OVER


@dataclass(frozen=True)
class Outcome:
    """What a run, or one of its machines, wrote down of its own end.

    `memory`: so many rows do not fit, and all machines must take fewer; `lost`: it ended by something that the loss of
    another machine would explain, and a mistake too.
    """

    kind: Literal["trained", "failed", "interrupted", "memory", "lost"]
    detail: str = ""
    cause: Cause = "error"
    result: TrainingResult | None = None
    candidate_sha256: str | None = None


@dataclass(frozen=True)
class Ending:
    """What the worker makes of it. After `evicted`, `memory` and `lost` the run may start again."""

    kind: Literal["trained", "failed", "evicted", "memory", "lost"]
    reason: str = ""
    cause: Cause = "error"


def assess_ending(run: RemoteRun, outcome: Outcome | None, log_tail: str, others: Sequence[Outcome] = ()) -> Ending:
    """Assess a job that is over. `outcome`: the first machine's word; `others`: those that other machines left.

    - what it wrote down itself counts, whatever its engine says: libraries may crash on their way out
    - a machine that knows why it failed goes before those that only miss it
    - somebody who stopped it at the engine wants it no more
    - what is taken away is evicted, if it was told so or its engine says so; what ended on several machines without
      knowing why is lost
    - without a word of its own it failed, and the log's tail says why
    """
    words = [*([outcome] if outcome is not None else ()), *others]
    if outcome is not None and outcome.kind == "trained":
        return Ending("trained")
    if known := _find_word(words, "failed") or _find_word(words, "memory"):
        return Ending("memory" if known.kind == "memory" else "failed", known.detail, known.cause)
    if run.state == "cancelled":
        return Ending("failed", f"stopped at its engine, by somebody else: {run.reason or run.state}", "launcher")
    if told := _find_word(words, "interrupted"):
        return Ending("evicted", told.detail or "told to end")
    if run.state in ("evicted", "gone") or (run.state == "lost" and not words):
        return Ending("evicted", run.reason or run.state)
    if words:
        return Ending("lost", "; ".join(word.detail for word in words)[:TAIL_CHARACTERS])
    return _blame_itself(run, log_tail)


def _find_word(words: Sequence[Outcome], kind: str) -> Outcome | None:
    return next((word for word in words if word.kind == kind), None)


def _blame_itself(run: RemoteRun, log_tail: str) -> Ending:
    words = "ended without a candidate" if run.state == "succeeded" else run.reason or "failed"
    tail = log_tail.strip()[-TAIL_CHARACTERS:]
    return Ending("failed", f"{words}: {tail}" if tail else words)


def dump_outcome(outcome: Outcome) -> bytes:
    """Write an outcome as JSON."""
    return msgspec.json.encode(outcome)


def parse_outcome(content: bytes) -> Outcome:
    """Parse what `dump_outcome` wrote; what is no outcome is a failed run that says so."""
    try:
        raw: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
        cause = raw.get("cause")
        return msgspec.convert(raw | {"cause": cause if cause in CAUSES else "error"}, Outcome)
    except msgspec.MsgspecError as error:
        return Outcome("failed", f"its outcome cannot be read: {error}")
