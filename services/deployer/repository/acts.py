"""Acts that other services and the command line recorded, and which of them stand in the audit log."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.deployer.domain.audit import Entry
from shared.tables import access, erasures, trainer
from shared.tables.base import ActRow
from shared.tables.deployer import SealedAct

TABLES: Mapping[str, type[ActRow]] = {"command": access.Act, "curator": erasures.Act, "trainer": trainer.Act}
AT_ONCE = 500


def load_unsealed_acts(session: Session) -> list[tuple[str, ActRow]]:
    """Return (who recorded it, the act) of what is not in the audit log yet, oldest first, at most 500 of each."""
    found = []
    for source, table in TABLES.items():
        sealed = select(SealedAct.act_id).where(SealedAct.act_id == table.act_id).exists()
        query = select(table).where(~sealed).order_by(table.at, table.act_id).limit(AT_ONCE)
        found += [(source, act) for act in session.scalars(query)]
    return sorted(found, key=lambda one: (one[1].at, one[1].act_id))


def save_sealed(session: Session, act_id: UUID, sequence: int) -> None:
    session.add(SealedAct(act_id=act_id, sequence=sequence))


def derive_detail(source: str, act: ActRow) -> dict[str, Any]:
    """Derive what the audit log says of an act beside actor, action, subject and time."""
    return {**act.detail, "service": source, "act_id": str(act.act_id)}


def count_unsealed_acts(session: Session) -> int:
    """Count the acts that are not in the audit log yet, up to 500 of each service."""
    return len(load_unsealed_acts(session))


def find_difference(session: Session, entry: Entry) -> str | None:
    """Say how an act differs from its entry in the audit log; None if it does not, or the entry is of no act."""
    table, act_id = TABLES.get(str(entry.detail.get("service"))), entry.detail.get("act_id")
    if table is None or act_id is None:
        return None
    source, act = str(entry.detail["service"]), session.get(table, UUID(str(act_id)))
    if act is None:
        return f"the act {act_id} that {source} recorded is gone"
    said = (act.at, act.actor, act.action, act.subject, derive_detail(source, act))
    session.expunge(act)
    is_same = said == (entry.at, entry.actor, entry.action, entry.subject, dict(entry.detail))
    return None if is_same else f"the act {act_id} that {source} recorded was changed"
