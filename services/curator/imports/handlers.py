"""Take an import back: its name into the ledger first, then rows, datasets and files as an erasure does."""

from dataclasses import dataclass
from uuid import UUID

import structlog

from services.curator.erasure.adapters import WITHDRAWALS, ErasureJournal, JournalEntry
from services.curator.erasure.handlers import Eraser
from services.curator.imports import repository as imports
from shared.acts import record_act
from shared.auth import Caller
from shared.db import lock_all, wait_for_holders
from shared.errors import NotFound
from shared.tables.erasures import Act, ImportWithdrawal
from shared.user_stores import EVIDENCE_LOCK

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Withdrawer:
    eraser: Eraser

    def withdraw(self, name: str, caller: Caller) -> tuple[ImportWithdrawal, bool]:
        """Take an import back: (its withdrawal, whether it is new).

        Raises:
            NotFound: nothing of such a name is stored, and none was taken back.
        """
        with self.eraser.sessions() as session, session.begin():
            known = {row.name: row for row in imports.list_withdrawals(session)}.get(name)
            if known is None and not imports.knows_import(session, name):
                raise NotFound(f"no import {name!r} brought anything that is stored")
            withdrawal = imports.load_or_create_withdrawal(session, name, caller.name, self.eraser.clock())
            if withdrawal.state == "done":
                return withdrawal, False
            record_act(session, Act, caller, "withdraw_import", name, {"withdrawal_id": str(withdrawal.withdrawal_id)})
        return self.run(withdrawal.withdrawal_id), known is None

    def run(self, withdrawal_id: UUID) -> ImportWithdrawal:
        """Do, or go on with, a withdrawal that is in the ledger.

        What was being stored while the name was entered is waited for: what is stored after that has seen the ledger.
        """
        with self.eraser.sessions() as session, session.begin():
            wait_for_holders(session, EVIDENCE_LOCK)
            lock_all(session, ["erasures", "retrain"])
            row = imports.load_withdrawal(session, withdrawal_id)
            if row.state == "running" and row.certificate is None:
                found = imports.find_import_data(session, row.name)
                row.certificate = self.eraser.remove(session, withdrawal_id, found)
        self.eraser.delete_files()
        self.journal.append(JournalEntry(row.name, row.requested_by))
        with self.eraser.sessions() as session, session.begin():
            done = imports.load_withdrawal(session, withdrawal_id)
            done.state, done.completed_at = "done", done.completed_at or self.eraser.clock()
        logger.info("import_withdrawn", withdrawal_id=str(withdrawal_id))
        return done

    @property
    def journal(self) -> ErasureJournal:
        return ErasureJournal(self.eraser.datasets_dir, WITHDRAWALS)

    def finish_running(self) -> None:
        """Go on with what a crash interrupted, and take back again what a restored backup has brought back."""
        journal = {entry.user: entry for entry in self.journal.read()}
        with self.eraser.sessions() as session, session.begin():
            known = {row.name for row in imports.list_withdrawals(session)}
            for name in sorted(journal.keys() - known):
                imports.load_or_create_withdrawal(session, name, journal[name].requested_by, self.eraser.clock())
            running = [row.withdrawal_id for row in imports.list_withdrawals(session) if row.state == "running"]
        for withdrawal_id in running:
            self.run(withdrawal_id)
