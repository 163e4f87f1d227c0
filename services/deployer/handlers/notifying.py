"""Tells people, by webhook, of the decisions that wait for them and of what a rollout did by itself."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from services.deployer.domain.notices import (
    NoticeKind,
    calculate_backoff,
    derive_slack_body,
    describe_notice,
    sign_body,
)
from services.deployer.metrics import NOTICES, NOTICES_WAITING
from services.deployer.ports import PostNotice
from services.deployer.repository.notices import (
    claim_notices,
    delete_notices,
    find_oldest_waiting,
    load_notice,
    save_notice,
)
from services.deployer.settings import DeployerSettings
from shared.db import SessionFactory
from shared.ids import new_id
from shared.tables.deployer import Notice, Rollout

logger = structlog.get_logger(__name__)

AT_ONCE = 20


def add_notice(
    session: Session,
    settings: DeployerSettings,
    kind: NoticeKind,
    rollout: Rollout,
    now: datetime,
    *,
    part: str = "",
    at: str = "",
) -> None:
    """Store a notice for each webhook, in the transaction that makes it true; once for each decision.

    `part` tells two decisions of one kind and rollout apart; `at`: when the policy will approve.
    """
    key = ":".join(filter(None, (kind, str(rollout.rollout_id), part)))
    link = f"{settings.console_url.rstrip('/')}/rollouts/{rollout.rollout_id}" if settings.console_url else ""
    body = {
        "kind": kind,
        "at": now.isoformat(),
        "rollout_id": str(rollout.rollout_id),
        "candidate_version": rollout.candidate_version,
        "champion_version": rollout.champion_version,
        "text": describe_notice(kind, candidate=rollout.candidate_version, champion=rollout.champion_version, at=at),
        "link": link,
    }
    for webhook in settings.webhooks:
        save_notice(
            session,
            Notice(
                notice_id=new_id(),
                key=key,
                target=webhook.target,
                kind=kind,
                rollout_id=rollout.rollout_id,
                body=body,
                created_at=now,
                next_attempt_at=now,
            ),
        )


@dataclass(frozen=True)
class Delivery:
    """Delivers what is due. A notice is sent again until its webhook took it; receivers know repeats by their id."""

    sessions: SessionFactory
    settings: DeployerSettings
    post: PostNotice
    clock: Callable[[], datetime]

    def deliver(self) -> int:
        """Return how many notices were delivered."""
        lease = timedelta(seconds=AT_ONCE * 2 * self.settings.webhook_timeout_seconds)
        with self.sessions() as session, session.begin():
            claimed = [
                (notice.notice_id, notice.target, notice.body)
                for notice in claim_notices(session, self.clock(), limit=AT_ONCE, lease=lease)
            ]
        delivered = sum(self._deliver(*each) for each in claimed)
        self._measure()
        return delivered

    def _deliver(self, notice_id: UUID, target: str, body: dict[str, Any]) -> bool:
        webhook = next((each for each in self.settings.webhooks if each.target == target), None)
        if webhook is None:
            self._note(notice_id, took=False, said="no such webhook in the settings")
            return False
        content = json.dumps(derive_slack_body(body) if webhook.is_slack else {"id": str(notice_id), **body}).encode()
        took, said = self.post(webhook, content, self._make_headers(notice_id, content))
        self._note(notice_id, took=took, said=said)
        return took

    def _make_headers(self, notice_id: UUID, content: bytes) -> dict[str, str]:
        timestamp = int(self.clock().timestamp())
        headers = {"content-type": "application/json", "x-heliotrope-notice-id": str(notice_id)}
        headers["x-heliotrope-timestamp"] = str(timestamp)
        if secret := self.settings.webhook_secret.get_secret_value():
            headers["x-heliotrope-signature"] = sign_body(secret, timestamp, content)
        return headers

    def _note(self, notice_id: UUID, *, took: bool, said: str) -> None:
        now = self.clock()
        with self.sessions() as session, session.begin():
            notice = load_notice(session, notice_id)
            if notice is None:
                return
            notice.last_result = said
            notice.next_attempt_at = now + timedelta(seconds=calculate_backoff(notice.attempts))
            if took:
                notice.delivered_at = now
            elif now - notice.created_at > timedelta(seconds=self.settings.webhook_give_up_seconds):
                notice.given_up_at = now
            outcome = "delivered" if took else "given up" if notice.given_up_at else "failed"
        NOTICES.labels(outcome).inc()
        if not took:
            logger.warning("notice_not_delivered", notice_id=str(notice_id), said=said, outcome=outcome)

    def _measure(self) -> None:
        with self.sessions() as session:
            oldest = find_oldest_waiting(session)
        NOTICES_WAITING.set((self.clock() - oldest).total_seconds() if oldest else 0)

    def delete_old(self) -> None:
        before = self.clock() - timedelta(seconds=self.settings.notices_kept_seconds)
        with self.sessions() as session, session.begin():
            delete_notices(session, before)
