"""The kill table: what happened to each process, how long until work went on, what was lost."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.faults.loop.harm import Outcome
from tests.faults.tables import Reconciliation

FOLDER = Path("build") / "faults"


@dataclass(frozen=True)
class Loss:
    """What was acknowledged and is nowhere: in the broker's memory when that went, or otherwise."""

    with_broker: frozenset[UUID]
    otherwise: frozenset[UUID]


def calculate_loss(outcomes: Sequence[Outcome], found: Reconciliation, unheard: frozenset[UUID]) -> Loss:
    """`unheard` are thumbs that the deployer never heard."""
    lost = found.lost_events | found.lost_answers | unheard
    at_risk = frozenset[UUID]().union(*(outcome.at_risk for outcome in outcomes))
    return Loss(lost & at_risk, lost - at_risk)


def count_lost(outcome: Outcome, loss: Loss) -> int:
    """Lost with the broker's memory at this harm, or made (a UUIDv7 tells when) while this harm was felt."""
    began = outcome.harmed_at - timedelta(seconds=20)
    ended = outcome.goes_on_at or datetime.now(UTC)
    felt = [each for each in loss.otherwise if began <= _made_at(each) <= ended]
    return len(loss.with_broker & outcome.at_risk) + len(felt)


def find_first(ids: frozenset[UUID]) -> datetime | None:
    return min(map(_made_at, ids), default=None)


def _made_at(identity: UUID) -> datetime:
    return datetime.fromtimestamp((identity.int >> 80) / 1000, UTC)


def write_table(
    name: str, outcomes: Sequence[Outcome], found: Reconciliation, loss: Loss, *, state: str, seconds: float
) -> Path:
    """Write `<name>.json` and `<name>.md`; the folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = [_describe(outcome, loss) for outcome in outcomes]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    content = {
        "name": name,
        "at": datetime.now(UTC).isoformat(),
        "commit": commit,
        "machine": {"cpus": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        "settings": {"model": "tiny", "runs": 1, "seconds": round(seconds), "load": os.getloadavg()[0]},
        "rows": rows,
        "rollout": state,
        "acknowledged": {"events": found.events, "answers": found.answers},
        "goals": [
            _goal("acknowledged and lost, other than in the broker's memory", len(loss.otherwise)),
            _goal("counted twice", found.counted_twice),
            _goal("in the tables and never sent", len(found.unknown_events)),
        ],
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    (FOLDER / f"{name}.md").write_text(render_table(rows))
    return FOLDER


def _describe(outcome: Outcome, loss: Loss) -> dict[str, Any]:
    """The figure is the seconds until work goes on; one run has no spread."""
    seconds = round(outcome.goes_on_seconds, 1)
    return {
        "name": f"{outcome.name}, while {outcome.phase}: work goes on after",
        "unit": "s",
        **dict.fromkeys(("median", "low", "high"), seconds),
        "runs": 1,
        "process": outcome.name,
        "phase": outcome.phase,
        "ready_seconds": round(outcome.ready_seconds, 1),
        "goes_on_seconds": seconds,
        "proof": outcome.proof,
        "sent_again": outcome.sent_again,
        "lost": count_lost(outcome, loss),
    }


def _goal(name: str, value: int) -> dict[str, Any]:
    return {"name": name, "value": value, "goal": 0, "sense": "at_most", "met": value == 0}


def render_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| process | while | ready after | work goes on after | that is | sent again | lost |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['process']} | {row['phase']} | {row['ready_seconds']:.1f} s | {row['goes_on_seconds']:.1f} s |"
        f" {row['proof']} | {row['sent_again']} | {row['lost']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"
