"""Erase a user: the erasure ledger first, then the tables, then the files. Each step may be repeated."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.curator.datasets import repository as datasets
from services.curator.datasets.adapters import DatasetContent, read_rows, read_selection_log, store_dataset
from services.curator.datasets.domain.data_card import derive_card
from services.curator.datasets.domain.rows import calculate_dataset_sha256
from services.curator.erasure import repository as erasures
from services.curator.erasure.adapters import ErasureJournal, JournalEntry
from services.curator.erasure.domain import (
    derive_raw_copies,
    derive_successor_manifest,
    list_places,
    name_places,
    prune,
    remove_rows,
)
from services.curator.erasure.repository import UserData
from services.curator.evidence.repository import intake
from services.curator.pairs.handlers import derive_groups
from services.curator.requests import repository as requests
from services.curator.requests.handlers import close_request
from shared.acts import record_act
from shared.artifacts import ArtifactNotFound, Artifacts
from shared.auth import Caller
from shared.bus.access import list_raw_topics
from shared.db import SessionFactory, lock_all, wait_for_holders
from shared.errors import NotFound
from shared.tables.curator import Dataset
from shared.tables.erasures import Act, Erasure
from shared.user_hash_generations import LoadUserHashes, load_without_secrets
from shared.user_stores import EVIDENCE_LOCK

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Eraser:
    sessions: SessionFactory
    datasets_dir: Path
    artifacts: Artifacts
    raw_retention: timedelta
    """For how long Kafka, dead letters and spools hold raw copies."""
    clock: Callable[[], datetime]
    load_user_hashes: LoadUserHashes = load_without_secrets
    topic_prefix: str = ""

    def erase(self, user: str, caller: Caller, *, even_unknown: bool = False) -> tuple[Erasure, bool]:
        """Erase a user; return (the erasure, whether it is new). A user erased before keeps the first certificate.

        Raises:
            NotFound: nothing of such a user is stored, and they were not to be entered into the ledger all the same.
        """
        with self.sessions() as session, session.begin():
            if not even_unknown and not self._knows(session, user):
                raise NotFound(
                    "nothing of this user is stored, and nothing was erased: is the name spelt as front ends send it? "
                    "With even_unknown they are entered into the ledger, and what comes of them later is dropped"
                )
            erasure = erasures.load_or_create_erasure(session, user, caller.name, self.clock())
            known = erasure.state == "done"
            if not known:
                record_act(session, Act, caller, "erase", str(erasure.erasure_id), {"even_unknown": even_unknown})
        return (erasure, False) if known else (self.run(erasure.erasure_id), True)

    def run(self, erasure_id: UUID) -> Erasure:
        """Do, or go on with, an erasure that is in the erasure ledger.

        What was being stored while the user was entered is waited for: whatever is stored after that has seen the
        ledger.

        It stays `running` while another service still holds something of the user: `finish_running` looks again.

        Raises:
            NotFound: no such erasure.
        """
        with self.sessions() as session, session.begin():
            wait_for_holders(session, EVIDENCE_LOCK)
            lock_all(session, ["erasures", "retrain"])
            erasure = erasures.load_erasure(session, erasure_id, for_update=True)
            if erasure is None:
                raise NotFound(f"no erasure {erasure_id}")
            if erasure.state == "done":
                return erasure
            if erasure.certificate is None:
                erasure.certificate = self._erase_rows(session, erasure)
        self.delete_files()
        self.journal.append(JournalEntry(erasure.user, erasure.requested_by))
        with self.sessions() as session, session.begin():
            done = erasures.load_erasure(session, erasure_id, for_update=True)
            assert done is not None
            left = erasures.count_rows(session, done.user)
            if any(left):
                logger.info("erasure_waits", erasure_id=str(erasure_id), tables=name_places(left))
                return done
            done.certificate = {**(done.certificate or {}), "places": list_places()}
            done.state, done.completed_at = "done", self.clock()
        logger.info("user_erased", erasure_id=str(erasure_id))
        return done

    def _knows(self, session: Session, user: str) -> bool:
        return bool(intake.find_erased_users(session, [user])) or any(erasures.count_rows(session, user))

    @property
    def journal(self) -> ErasureJournal:
        return ErasureJournal(self.datasets_dir)

    def finish_running(self) -> None:
        """Go on with what a crash interrupted, and erase again whom a restored backup has brought back."""
        with self.sessions() as session, session.begin():
            carry = self.load_user_hashes(session).carry
            journal = {carry(entry.user) or entry.user: entry for entry in self.journal.read()}
            for user in sorted(journal.keys() - intake.find_erased_users(session, journal).keys()):
                erasures.load_or_create_erasure(session, user, journal[user].requested_by, self.clock())
                logger.warning("erased_user_was_restored")
            running = erasures.list_running(session)
        for erasure_id in running:
            self.run(erasure_id)

    def _erase_rows(self, session: Session, erasure: Erasure) -> dict[str, Any]:
        """Erase the user's rows and replace the datasets; return the certificate."""
        certificate = self.remove(session, erasure.erasure_id, erasures.find_user_data(session, erasure.user))
        erasures.delete_quarantine_cases(session, erasure.user)
        return certificate

    def remove(self, session: Session, cause: UUID, found: UserData) -> dict[str, Any]:
        """Delete evidence for ever because of an erasure or a withdrawal; return the certificate.

        Replaces the datasets that held it and derives anew what is left. The files follow with `delete_files`.
        """
        items, held = erasures.find_frozen_items(session, found)
        self._delete_rows(session, cause, found, items)
        replaced = [self._replace(session, key, set(held[key])) for key in sorted(held)]
        erasures.delete_frozen_items(session, items)
        derive_groups(session, found.groups)
        return self._certify(session, cause, replaced)

    def _delete_rows(self, session: Session, cause: UUID, found: UserData, items: dict[str, str]) -> None:
        intake.save_tombstones(session, cause, "interaction", found.interactions)
        intake.save_tombstones(session, cause, "event", found.events)
        intake.save_tombstones(session, cause, "pair", found.pairs | (items.keys() - found.labels))
        intake.save_tombstones(session, cause, "label", found.labels)
        erasures.delete_user_data(session, found)

    def _replace(self, session: Session, dataset_sha256: str, erased: set[str]) -> dict[str, Any]:
        """Freeze a successor without the erased rows; what stays of the old one is its hash."""
        old = datasets.load_dataset(session, dataset_sha256)
        assert old is not None
        successor = self._freeze_successor(session, old, erased)
        old.erased_at, old.replaced_by = old.erased_at or self.clock(), successor
        old.manifest = prune(old.manifest, erased)
        request = requests.load_open_request(session)
        if request and request.dataset_sha256 == dataset_sha256 and not requests.has_run(session, request.request_id):
            close_request(session, request.request_id, "dataset_erased", None)
        return {"dataset_sha256": dataset_sha256, "replaced_by": successor, "rows_erased": len(erased)}

    def _freeze_successor(self, session: Session, old: Dataset, erased: set[str]) -> str | None:
        try:
            before = self.artifacts.fetch(old.uri, unlisted=True)
            rows, log = remove_rows(read_rows(before), erased), read_selection_log(before)
        except (ArtifactNotFound, FileNotFoundError):  # deleted by an attempt, or an erasure, before this one
            return old.replaced_by
        self.artifacts.drop(before)
        if not rows["train"]:
            return None
        dataset_sha256 = calculate_dataset_sha256(rows)
        manifest = derive_successor_manifest(old.manifest, rows, erased, dataset_sha256)
        log = [row for row in log if row["id"] not in erased]
        content = DatasetContent(dataset_sha256, rows, manifest, derive_card(manifest, rows), log)
        uri = store_dataset(self.artifacts, self.datasets_dir, content)
        through = old.through_sequence
        datasets.save_dataset(session, dataset_sha256, uri, old.parent_sha256, manifest, through)
        datasets.inherit_items(session, dataset_sha256, old.dataset_sha256)
        return dataset_sha256

    def _certify(self, session: Session, cause: UUID, replaced: list[dict[str, Any]]) -> dict[str, Any]:
        """Write the certificate: ids and counts, and until when raw copies may still be found."""
        trained = datasets.list_models_trained_on(session, [item["dataset_sha256"] for item in replaced])
        return {
            "erased": erasures.count_tombstones(session, cause),
            "datasets": replaced,
            "models": trained,
            "promotion_blocked": sorted(item["version"] for item in trained if item["directly"]),
            "raw_copies": derive_raw_copies(list_raw_topics(self.topic_prefix), self.clock() + self.raw_retention),
        }

    def delete_files(self) -> None:
        """Delete the files of every dataset that was replaced, also those that a crash left behind."""
        with self.sessions() as session:
            replaced = datasets.list_erased_uris(session)
        for uri in replaced:
            self.artifacts.delete(uri)
