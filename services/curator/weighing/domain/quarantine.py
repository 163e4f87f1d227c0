"""Evidence that looks made rather than meant: set aside until a person releases or rejects it.

- burst: more than `BURST_EVENTS` of one user within `BURST`; not of what was uploaded together, at one time
- copied_votes: claims that at least three users share, who share far more claims than chance would have it
- copied_text: edits that are copies of a text that is a large part of all, or of nobody in particular
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from scipy import stats

from services.curator.weighing.domain.copied_text import find_copied_text
from services.curator.weighing.domain.curation import AnyWeighed, Curated
from services.curator.weighing.domain.history import Decisions, Evidence, FeedbackRecord, History, PairEvidence

BURST_EVENTS = 30
BURST = timedelta(seconds=60)
UPLOADERS = 3
"""Fewer users who speak at the very same instant may be scripts that began together."""
CLUSTER_USERS = 3
SHARED_CLAIMS = 4
"""Two users who share fewer claims are never called copies of each other."""
FALSE_ALARM = 1e-3
"""Probability that chance alone would link any two of all users."""
NEIGHBOURS = 50
"""Each maker of a claim is held against this many others who made it, next in the order of their names: the copies of
one brigade are linked in a chain, and a claim that everybody makes costs no square."""

ClaimKey = tuple[str, str, str]


@dataclass(frozen=True)
class Quarantine:
    """Events by reason: `waiting` for a person, and the ones that a person rejected."""

    waiting: dict[UUID, str] = field(default_factory=dict)
    rejected: frozenset[UUID] = frozenset()

    @property
    def set_aside(self) -> frozenset[UUID]:
        return frozenset(self.waiting) | self.rejected


def derive_quarantine(history: History, decisions: Decisions) -> Quarantine:
    """Find what is suspicious and not released.

    Votes that were solicited or imported are never copies: who had to judge what was somebody's choice, and those who
    judged the same agree by design.

    A released event still counts towards what makes others suspicious, a rejected one too.
    """
    found: dict[UUID, str] = {}
    for reason, events in (
        ("copied_text", find_copied_text(history)),
        ("copied_votes", find_copied_votes(history)),
        ("burst", find_bursts(history.feedback.values())),
    ):
        for event_id in events:
            found.setdefault(event_id, reason)
    rejected = frozenset(event_id for event_id, one in history.feedback.items() if decisions.is_rejected(one))
    waiting = {
        event_id: found[event_id]
        for event_id in sorted(found.keys() - rejected)
        if not decisions.is_released(history.feedback[event_id])
    }
    return Quarantine(waiting, rejected)


def find_bursts(feedback: Iterable[FeedbackRecord]) -> set[UUID]:
    """Find bursts. Imports have none, nor what at least three users said through one API key at the very same instant.

    That is a file of annotators' work, sent through the batch door with one time for all of it: it says nothing of
    anybody's pace.
    """
    heard = [one for one in feedback if not one.imported]
    uploads = _find_uploads(heard)
    by_user: dict[str, list[FeedbackRecord]] = defaultdict(list)
    for one in heard:
        if one.user is not None and (one.key_id, one.at) not in uploads:
            by_user[one.user].append(one)
    return {event_id for events in by_user.values() for event_id in _find_burst(events)}


def _find_uploads(feedback: Iterable[FeedbackRecord]) -> set[tuple[str, datetime]]:
    users: dict[tuple[str, datetime], set[str]] = defaultdict(set)
    for one in feedback:
        if one.user is not None:
            users[one.key_id, one.at].add(one.user)
    return {instant for instant, found in users.items() if len(found) >= UPLOADERS}


def _find_burst(events: list[FeedbackRecord]) -> set[UUID]:
    in_order = sorted(events, key=lambda one: (one.at, one.event_id))
    found: set[UUID] = set()
    start = 0
    for end, one in enumerate(in_order):
        while one.at - in_order[start].at > BURST:
            start += 1
        if end - start + 1 > BURST_EVENTS:
            found.update(event.event_id for event in in_order[start : end + 1])
    return found


def find_copied_votes(history: History) -> set[UUID]:
    """Find copied votes. Null hypothesis: users pick claims independently, each claim by its popularity.

    User u with n_u of N claims then makes claim c, which c_c users make, with probability about n_u c_c / N, and two
    users share a Poisson number of claims, whose mean is the sum over claims of the product of their probabilities.
    """
    makers = _collect_claims(history)
    made: dict[str, set[ClaimKey]] = defaultdict(set)
    for claim, events in makers.items():
        for user in events:
            made[user].add(claim)
    linked = _link(makers, made)
    found: set[UUID] = set()
    for cluster in _cluster(linked):
        if len(cluster) >= CLUSTER_USERS:
            found |= _list_shared(cluster, linked, made, makers)
    return found


def _link(
    makers: Mapping[ClaimKey, Mapping[str, set[UUID]]], made: Mapping[str, set[ClaimKey]]
) -> list[tuple[str, str]]:
    """Find pairs of users who share more claims than chance allows."""
    shared: dict[tuple[str, str], int] = defaultdict(int)
    for events in makers.values():
        users = sorted(events)
        for at, user in enumerate(users):
            for other in users[at + 1 : at + 1 + NEIGHBOURS]:
                shared[user, other] += 1
    total = sum(len(claims) for claims in made.values())
    together = sum(len(events) ** 2 for events in makers.values())
    level = FALSE_ALARM / max(len(made) * (len(made) - 1) / 2, 1)
    return sorted(
        pair
        for pair, count in shared.items()
        if count >= SHARED_CLAIMS
        and stats.poisson.sf(count - 1, len(made[pair[0]]) * len(made[pair[1]]) * together / total**2) < level
    )


def _cluster(linked: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Find connected components."""
    leader: dict[str, str] = {}

    def find(user: str) -> str:
        while leader.setdefault(user, user) != user:
            user = leader[user]
        return user

    for one, other in linked:
        low, high = sorted((find(one), find(other)))
        leader[high] = low
    clusters: dict[str, list[str]] = defaultdict(list)
    for user in sorted(leader):
        clusters[find(user)].append(user)
    return list(clusters.values())


def _list_shared(
    cluster: Collection[str],
    linked: Sequence[tuple[str, str]],
    made: Mapping[str, set[ClaimKey]],
    makers: Mapping[ClaimKey, Mapping[str, set[UUID]]],
) -> set[UUID]:
    """List the events behind claims that two linked users of the cluster share."""
    found: set[UUID] = set()
    for one, other in linked:
        if one in cluster:
            for claim in made[one] & made[other]:
                found |= makers[claim][one] | makers[claim][other]
    return found


def _collect_claims(history: History) -> dict[ClaimKey, dict[str, set[UUID]]]:
    """Collect claim -> user -> events; an edit's is its text, which `copied_text` looks at."""
    makers: dict[ClaimKey, dict[str, set[UUID]]] = defaultdict(lambda: defaultdict(set))
    for item in history.items:
        for event_id in item.evidence:
            one = history.feedback.get(event_id)
            if one is not None and one.user is not None and one.text is None and not (one.solicited or one.imported):
                makers[_describe_claim(item)][one.user].add(event_id)
    return makers


def _describe_claim(item: Evidence) -> ClaimKey:
    if isinstance(item, PairEvidence):
        return item.prompt_hash, item.chosen.strip(), item.rejected.strip()
    return item.prompt_hash, item.completion.strip(), "+" if item.desirable else "-"


def describe_quarantined(history: History, quarantine: Quarantine, curated: Curated) -> list[dict[str, Any]]:
    """Describe each user with events in quarantine, and each contested pair and label with both sides' evidence.

    The users of closed groups are among them: nothing of theirs is set aside, but what they weigh is capped until a
    person vouches for them. `history` is the one from which nothing was set aside yet.
    """
    of_user: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for event_id, reason in sorted(quarantine.waiting.items()):
        of_user[history.feedback[event_id].holder][reason].append(str(event_id))
    users = [_describe_user(user, reasons) for user, reasons in sorted(of_user.items())]
    users += _describe_closed(curated, known=of_user)
    return users + _describe_contested("pair", curated.pairs) + _describe_contested("label", curated.labels)


def _describe_user(user: str, reasons: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "subject_kind": "user",
        "subject_id": user,
        "reason": max(sorted(reasons), key=lambda reason: len(reasons[reason])),
        "detail": {"events": dict(reasons)},
    }


def _describe_closed(curated: Curated, known: Collection[str]) -> list[dict[str, Any]]:
    return [
        {
            "subject_kind": "user",
            "subject_id": user,
            "reason": "closed_group",
            "detail": {"events": {}, "group": number},
        }
        for number, group in enumerate(curated.reliability.closed_groups, 1)
        for user in sorted(group)
        if user not in known
    ]


def _describe_contested(kind: str, weighed: Sequence[AnyWeighed]) -> list[dict[str, Any]]:
    contested = [one for one in weighed if one.reason == "contested"]
    sides: dict[tuple[object, ...], list[AnyWeighed]] = defaultdict(list)
    for one in contested:
        sides[_name_side(one.item)].append(one)
    return [
        {
            "subject_kind": kind,
            "subject_id": one.item.item_id,
            "reason": "contested",
            "detail": {
                "prompt_hash": one.item.prompt_hash,
                "epsilon": one.epsilon,
                "evidence": [str(event_id) for event_id in one.item.evidence],
                "against": [
                    {"id": other.item.item_id, "evidence": [str(event_id) for event_id in other.item.evidence]}
                    for other in sides[_name_opposite(one.item)]
                ],
            },
        }
        for one in contested
    ]


def _name_side(item: Evidence) -> tuple[object, ...]:
    if isinstance(item, PairEvidence):
        return item.prompt_hash, item.chosen.strip(), item.rejected.strip()
    return item.prompt_hash, item.completion.strip(), item.desirable


def _name_opposite(item: Evidence) -> tuple[object, ...]:
    if isinstance(item, PairEvidence):
        return item.prompt_hash, item.rejected.strip(), item.chosen.strip()
    return item.prompt_hash, item.completion.strip(), not item.desirable
