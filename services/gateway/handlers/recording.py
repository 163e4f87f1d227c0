"""Record every interaction in the spool before the last byte of its answer."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec
import structlog

from services.gateway.adapters.spool import Spool, SpoolFull
from services.gateway.handlers.exchange import Choice, Exchange
from services.gateway.metrics import INTERACTIONS, SPOOL_LATE, UNRECORDED
from shared.bus import Record, encode
from shared.events import InteractionRecorded
from shared.recording import hash_attachments, split_conversation

logger = structlog.get_logger(__name__)


class Recorder:
    """Writes interactions to the spool. What cannot be recorded is counted, and the answer goes out."""

    def __init__(
        self,
        spool: Spool,
        charge: Callable[[Exchange], None],
        *,
        topic_prefix: str,
        max_event_bytes: int,
        deadline_seconds: float,
    ) -> None:
        """`charge` is told once of each exchange that has ended."""
        self._spool = spool
        self._charge = charge
        self._topic_prefix = topic_prefix
        self._max_event_bytes = max_event_bytes
        self._deadline_seconds = deadline_seconds

    async def record_and_wait(self, exchange: Exchange) -> None:
        """Return when the exchange is on disk, or cannot be recorded, or the deadline has passed."""
        kept = self.record(exchange)
        if kept is None:
            return
        waiting = asyncio.wrap_future(kept)
        waiting.add_done_callback(lambda done: done.exception())  # read here; it is counted where it happens
        _, late = await asyncio.wait([waiting], timeout=self._deadline_seconds)
        if late:
            SPOOL_LATE.inc()

    def record(self, exchange: Exchange, error: str | None = None) -> "Future[None] | None":
        """Queue the exchange for the disk; None when there is nothing to wait for.

        `error` holds for every choice that has not failed for a reason of its own.
        """
        if exchange.is_probe or exchange.is_recorded:
            return None
        exchange.is_recorded = True
        self._charge(exchange)
        events = [derive_interaction(exchange, choice, error) for choice in exchange.choices]
        for choice, event in zip(exchange.choices, events, strict=True):
            INTERACTIONS.labels(choice.assignment.arm, "failed" if event.error else "answered").inc()
        records = self._encode(events)
        if not records:
            return None
        try:
            kept = self._spool.put(records)
        except SpoolFull:
            UNRECORDED.labels("spool_full").inc(len(records))
            return None
        kept.add_done_callback(lambda done: _count_failure(done, len(records)))
        return kept

    def _encode(self, events: Sequence[InteractionRecorded]) -> list[Record]:
        records = []
        for event in events:
            record = encode(event, source="gateway", topic_prefix=self._topic_prefix)
            if b"\\u0000" in record.value:
                record = encode(_without_zeros(event), source="gateway", topic_prefix=self._topic_prefix)
            if len(record.value) > self._max_event_bytes:
                UNRECORDED.labels("too_large").inc()
                logger.warning("interaction_too_large", interaction_id=str(event.interaction_id))
            else:
                records.append(record)
        return records


def _count_failure(kept: "Future[None]", count: int) -> None:
    if kept.exception() is not None:
        UNRECORDED.labels("spool_failed").inc(count)


def derive_interaction(exchange: Exchange, choice: Choice, error: str | None) -> InteractionRecorded:
    """Return the event of one choice. An answer of a collection request is no evidence about the rollout."""
    request, answer = exchange.request, choice.answer
    return InteractionRecorded(
        interaction_id=choice.interaction_id,
        messages=hash_attachments(request.messages),
        answer=answer.text,
        model_version=choice.served.version,
        served_at=exchange.served_at,
        key_id=exchange.key_id,
        conversation_id=exchange.conversation,
        user=exchange.user,
        intended_version=choice.assignment.route.version,
        rollout_id=None if exchange.collected else exchange.table.rollout_id,
        propensity=choice.assignment.propensity,
        solicited=request.solicits,
        error=choice.failure.reason if choice.failure else error,
        finish_reason=answer.finish_reason,
        tool_calls=answer.tool_calls or None,
        refusal=answer.refusal or None,
        reasoning=answer.reasoning or None,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        first_byte_seconds=choice.first_byte_seconds,
        total_seconds=choice.total_seconds if choice.total_seconds is not None else exchange.elapsed_seconds,
        metadata=_describe(exchange, choice) or None,
    )


def _describe(exchange: Exchange, choice: Choice) -> dict[str, Any]:
    """Return the client's metadata but the conversation's id, and what else bears on the answer's worth as evidence."""
    _, metadata = split_conversation(exchange.request.body.get("metadata"))
    if choice.answer.finish_reason:
        metadata["finish_reason"] = choice.answer.finish_reason
    if exchange.request.body.get("tools"):
        metadata["tools"] = exchange.request.body["tools"]
    if choice.fell_back_because:
        metadata["fell_back_because"] = choice.fell_back_because
    siblings = [str(other.interaction_id) for other in exchange.answered if other is not choice]
    if siblings:
        metadata["sibling_interaction_ids"] = siblings
    return metadata


def _without_zeros(event: InteractionRecorded) -> InteractionRecorded:
    """Replace U+0000, which Postgres can store in neither text nor JSON, by the replacement character."""
    return msgspec.convert(_replace_zeros(msgspec.to_builtins(event)), InteractionRecorded)


def _replace_zeros(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case dict():
            return {_replace_zeros(key): _replace_zeros(item) for key, item in value.items()}
        case list():
            return [_replace_zeros(item) for item in value]
    return value
