"""What people are told of a rollout: one notice for each decision that is needed, and for each turn that it took alone.

A notice is made of versions and our own words: nothing that a user, a front end or an admin wrote stands in it.
"""

import hashlib
import hmac
from typing import Any, Literal, get_args

from services.deployer.domain.rollout import Command

NoticeKind = Literal[
    "approval_needed",
    "second_approval_needed",
    "policy_approves",
    "held",
    "rollback_needed",
    "rolled_back",
    "ended",
    "promoted",
]
KINDS: tuple[NoticeKind, ...] = get_args(NoticeKind)

TEXTS: dict[NoticeKind, str] = {
    "approval_needed": "Version {candidate} passed its gates against {champion} and waits for an approval.",
    "second_approval_needed": "Version {candidate} has one approval and needs that of a second admin.",
    "policy_approves": "The approval policy will let version {candidate} begin at {at}. Reject or pause it to veto.",
    "held": "The canary of version {candidate} is held: a guardrail found a difference that a person has to judge.",
    "rollback_needed": "Version {candidate} turned out worse, and {champion} cannot come back by itself.",
    "rolled_back": "Version {candidate} was rolled back by itself; everybody is on version {champion}.",
    "ended": "The rollout of version {candidate} was ended by itself; everybody is on version {champion}.",
    "promoted": "Version {candidate} is the champion; version {champion} serves its holdback.",
}
OUTCOMES: dict[Command, NoticeKind] = {"roll_back": "rolled_back", "abort": "ended"}
FIRST_SECONDS, LONGEST_SECONDS = 5.0, 3_600.0


def describe_notice(kind: NoticeKind, *, candidate: str, champion: str, at: str = "") -> str:
    """Return the sentence for people; `at`: when the policy will approve."""
    return TEXTS[kind].format(candidate=candidate, champion=champion, at=at)


def calculate_backoff(attempts: int) -> float:
    """Return the seconds until a delivery that has failed so often is tried again: 5, 10, 20, ... to an hour."""
    return float(min(FIRST_SECONDS * 2 ** min(attempts - 1, 20), LONGEST_SECONDS))


def sign_body(secret: str, timestamp: int, body: bytes) -> str:
    """Return `v1=` and the HMAC-SHA256 (hex) over timestamp, a full stop, and the body."""
    return f"v1={hmac.new(secret.encode(), b'%d.' % timestamp + body, hashlib.sha256).hexdigest()}"


def derive_slack_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a Slack-compatible webhook takes."""
    return {"text": f"{body['text']} <{body['link']}|Look at it>" if body["link"] else body["text"]}
