"""Submit events: decode and validate each, publish it to the bus, say what became of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import get_args
from uuid import UUID

import msgspec

from services.ingest.adapters.authentication import Principal
from services.ingest.adapters.content_hashes import RecentContentHashes, StoredContentHashes
from services.ingest.adapters.publisher import Publisher
from services.ingest.adapters.topic_limits import TopicLimits
from services.ingest.domain.validation import (
    TimeLimits,
    assess_feedback,
    assess_messages,
    assess_time,
    calculate_clock_offset,
    decode_feedback,
    decode_interaction,
    make_invalid,
)
from services.ingest.metrics import CLOCKS_CORRECTED, EVENTS
from shared.bus import Record, encode
from shared.errors import Conflict, HeliotropeError, TooLarge, TooManyRequests, Unavailable
from shared.events import AnyFeedback, FeedbackReceived, InteractionRecorded
from shared.feedback import calculate_content_hash
from shared.ids import new_id
from shared.recording import hash_attachments, split_conversation
from shared.user_hashes import FindUserHashes, UserHashes

Raw = bytes | msgspec.Raw


class IdTaken(Conflict):
    title = "Id taken by another body"


class Submission(msgspec.Struct, frozen=True):
    """One valid event, encoded for the bus. `content_hash` is known when the client chose the id."""

    event_id: UUID
    key_id: str
    type: str
    record: Record
    content_hash: str | None
    carried_hashes: tuple[str, ...] = ()
    """The same under later secrets of user hashes: as the curator may have stored it."""


@dataclass(frozen=True)
class Limits:
    future: TimeLimits
    feedback: TimeLimits
    max_event_bytes: int


Result = Submission | HeliotropeError

# looking a child up by its labels takes longer than counting
_count_events = lru_cache(1_000)(EVENTS.labels)
_TAGS: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(AnyFeedback)}


class Intake:
    """Submits one kind of event: feedback, or interactions. `read` turns the bytes of one event into a submission."""

    def __init__(
        self,
        kind: str,
        read: Callable[[Raw, Principal], Submission],
        publisher: Publisher,
        stored: StoredContentHashes,
        recent: RecentContentHashes,
    ) -> None:
        self.kind = kind
        self._read = read
        self._publisher = publisher
        self._stored = stored
        self._recent = recent

    async def submit(self, raw: bytes, principal: Principal) -> Submission:
        """Return once the broker has stored the event.

        Raises:
            HeliotropeError: as `submit_all` returns it; with the event's id, where there is one.
        """
        result = self._try_read(raw, principal)
        if not isinstance(result, Submission):
            self._count("unknown", result)
            raise result
        [error] = await self._publish([result])
        self._count(result.type, error)
        if error is not None:
            raise error
        return result

    async def submit_all(
        self, raws: Sequence[Raw], principal: Principal
    ) -> list[tuple[Submission | None, HeliotropeError | None]]:
        """Return for each event, in order, its submission and the error if it was not stored."""
        results: list[Result] = [self._try_read(raw, principal) for raw in raws]
        submissions = [result for result in results if isinstance(result, Submission)]
        errors = iter(await self._publish(submissions))
        outcomes: list[tuple[Submission | None, HeliotropeError | None]] = []
        for result in results:
            if isinstance(result, Submission):
                error = next(errors)
                outcomes.append((result, error))
                self._count(result.type, error)
            else:
                outcomes.append((None, result))
                self._count("unknown", result)
        return outcomes

    def _count(self, kind: str, error: HeliotropeError | None) -> None:
        _count_events(self.kind, kind, describe_outcome(error)).inc()

    def _try_read(self, raw: Raw, principal: Principal) -> Result:
        try:
            return self._read(raw, principal)
        except HeliotropeError as error:
            return error

    async def _publish(self, submissions: list[Submission]) -> list[HeliotropeError | None]:
        if not any(submission.content_hash for submission in submissions):
            records = [submission.record for submission in submissions]
            return self._mark(submissions, await self._publisher.publish(records))
        known = await self._find_known(submissions)
        conflicts = [self._find_conflict(submission, known) for submission in submissions]
        orderly = [one for one, conflict in zip(submissions, conflicts, strict=True) if conflict is None]
        stored = iter(await self._publisher.publish([submission.record for submission in orderly]))
        return self._mark(submissions, [conflict or next(stored) for conflict in conflicts])

    def _mark(
        self, submissions: list[Submission], errors: list[HeliotropeError | None]
    ) -> list[HeliotropeError | None]:
        """Give each error the id to send the event again with, and forget what was not stored."""
        for submission, error in zip(submissions, errors, strict=True):
            if error is not None:
                error.extra = {"event_id": str(submission.event_id)}  # type: ignore[attr-defined]
                if not isinstance(error, Conflict):
                    self._recent.forget(submission.key_id, submission.event_id)
        return errors

    async def _find_known(self, submissions: list[Submission]) -> dict[UUID, str]:
        """Return what the curator knows of the ids that clients chose and that this process has not seen recently."""
        asked = [
            submission
            for submission in submissions
            if submission.content_hash and self._recent.find(submission.key_id, submission.event_id) is None
        ]
        return await self._stored.find(asked[0].key_id, [one.event_id for one in asked]) if asked else {}

    def _find_conflict(self, submission: Submission, known: Mapping[UUID, str]) -> Conflict | None:
        if submission.content_hash is None:
            return None
        standing = self._recent.find(submission.key_id, submission.event_id) or known.get(submission.event_id)
        if standing not in (None, submission.content_hash, *submission.carried_hashes):
            return IdTaken("another body was sent with this id before; it stands, this one was not stored")
        self._recent.remember(submission.key_id, submission.event_id, submission.content_hash)
        return None


def describe_outcome(error: HeliotropeError | None) -> str:
    if error is None:
        return "accepted"
    return "retry" if isinstance(error, Unavailable | TooManyRequests) else "rejected"


def _shift(at: datetime | None, offset: timedelta) -> datetime | None:
    """Return the time with the offset added; unshifted where no such time exists."""
    try:
        return at + offset if at is not None and offset else at
    except OverflowError:
        return at


class SubmissionReader:
    """Turns the bytes of one event into a submission, or into an error that names the field."""

    def __init__(
        self,
        limits: Limits,
        find_user_hashes: FindUserHashes,
        topic_prefix: str,
        now: Callable[[], datetime],
        topic_limits: TopicLimits | None = None,
    ) -> None:
        self._limits = limits
        self._topic_limits = topic_limits
        self._find_user_hashes = find_user_hashes
        self._topic_prefix = topic_prefix
        self._now = now

    def read_feedback(self, raw: Raw, principal: Principal) -> Submission:
        """Raises: MalformedBody, InvalidRequest, Forbidden, TooLarge."""
        body, now, hashes = decode_feedback(raw), self._now(), self._find_user_hashes()
        feedback = body.feedback()
        principal.check_feedback(feedback, body.interaction_id)
        errors = assess_feedback(feedback, body.interaction_id)
        offset = calculate_clock_offset(body.occurred_at, body.sent_at, now, self._limits.feedback)
        if errors := errors + assess_time("occurred_at", _shift(body.occurred_at, offset), now, self._limits.feedback):
            raise make_invalid(errors)
        if offset:
            CLOCKS_CORRECTED.inc()
        event = FeedbackReceived(
            event_id=body.event_id or new_id(),
            interaction_id=body.interaction_id,
            feedback=feedback,
            received_at=now,
            key_id=principal.key_id,
            user=principal.draw_user(body.user_id, None, hashes),
            occurred_at=body.occurred_at,
            metadata=split_conversation(body.metadata)[1] or None,
            clock_offset_seconds=offset.total_seconds() if offset else None,
        )
        kind = _TAGS[type(feedback)]
        return self._prepare(event, event.event_id, kind, hashes, chosen=body.event_id is not None)

    def read_interaction(self, raw: Raw, principal: Principal) -> Submission:
        """Raises: MalformedBody, InvalidRequest, TooLarge."""
        body, now, hashes = decode_interaction(raw), self._now(), self._find_user_hashes()
        errors = assess_messages(body.messages)
        if errors := errors + assess_time("served_at", body.served_at, now, self._limits.future):
            raise make_invalid(errors)
        named, metadata = split_conversation(body.metadata)
        conversation = body.conversation_id or named
        event = InteractionRecorded(
            interaction_id=body.interaction_id or new_id(),
            messages=hash_attachments(body.messages),
            answer=body.answer,
            model_version=body.model_version,
            served_at=body.served_at,
            key_id=principal.key_id,
            conversation_id=hashes.draw(None, conversation),
            user=principal.draw_user(body.user_id, conversation, hashes),
            solicited=body.solicited,
            metadata=metadata or None,
        )
        chosen = body.interaction_id is not None
        return self._prepare(event, event.interaction_id, "interaction", hashes, chosen=chosen)

    def _prepare(
        self,
        event: FeedbackReceived | InteractionRecorded,
        event_id: UUID,
        kind: str,
        hashes: UserHashes,
        *,
        chosen: bool,
    ) -> Submission:
        published = hashes.publish(event)
        record = encode(published, source="ingest", topic_prefix=self._topic_prefix, at=self._now())
        if len(record.value) > self._limits.max_event_bytes:
            raise TooLarge(f"an event may have at most {self._limits.max_event_bytes} bytes")
        if self._topic_limits is not None:
            self._topic_limits.check(record)
        content_hash = calculate_content_hash(event) if chosen else None
        carried = hashes.list_carried(content_hash) if content_hash else ()
        return Submission(event_id, event.key_id, kind, record, content_hash, carried)
