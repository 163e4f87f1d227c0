"""Acts of people and commands, written in the transaction that does them; the deployer seals them in the audit log."""

import getpass
import socket
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from shared.auth import Caller
from shared.ids import new_id
from shared.tables.access import Act as CommandAct
from shared.tables.base import ActRow


def record_act(
    session: Session, table: type[ActRow], caller: Caller, action: str, subject: str, detail: dict[str, Any]
) -> None:
    """Record who did what, if the session's transaction commits. Neither subject nor detail names a user."""
    who = {"account" if caller.is_person else "key_id": caller.key_id}
    _add(session, table, caller.name, action, subject, detail | who)


def record_command(session: Session, action: str, subject: str, detail: dict[str, Any]) -> None:
    """Record what somebody did on the command line: by the name of their account on that machine."""
    _add(session, CommandAct, f"{_find_login()}@{socket.gethostname()}", action, subject, detail)


def _add(session: Session, table: type[ActRow], actor: str, action: str, subject: str, detail: dict[str, Any]) -> None:
    at = datetime.now(UTC)
    session.add(table(act_id=new_id(), at=at, actor=actor, action=action, subject=subject, detail=detail))


def _find_login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
