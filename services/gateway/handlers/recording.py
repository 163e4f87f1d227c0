"""Every interaction goes to the spool before the last byte of its answer."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any
from uuid import UUID

import msgspec
import structlog

from services.gateway.adapters.spool import Spool, SpoolFull
from services.gateway.domain.completions import Answer
from services.gateway.handlers.exchange import Exchange
from services.gateway.metrics import INTERACTIONS, SPOOL_LATE, UNRECORDED
from shared.bus import Record, encode
from shared.events import InteractionRecorded

logger = structlog.get_logger(__name__)


class Recorder:
    """Never in the way of an answer: what cannot be recorded is counted, and the answer goes out."""

    def __init__(self, spool: Spool, *, topic_prefix: str, max_event_bytes: int, deadline_seconds: float) -> None:
        self._spool = spool
        self._topic_prefix = topic_prefix
        self._max_event_bytes = max_event_bytes
        self._deadline_seconds = deadline_seconds

    async def record_and_wait(self, exchange: Exchange, error: str | None = None) -> None:
        """Returns when the exchange is on disk, or cannot be recorded, or the deadline has passed."""
        kept = self.record(exchange, error)
        if kept is None:
            return
        waiting = asyncio.wrap_future(kept)
        waiting.add_done_callback(lambda done: done.exception())  # read here; it is counted where it happens
        _, late = await asyncio.wait([waiting], timeout=self._deadline_seconds)
        if late:
            SPOOL_LATE.inc()

    def record(self, exchange: Exchange, error: str | None = None) -> "Future[None] | None":
        """Queue the exchange for the disk; None when there is nothing to wait for."""
        if exchange.is_probe:
            return None
        INTERACTIONS.labels(exchange.assignment.arm, "answered" if error is None else "failed").inc()
        records = self._encode(derive_interactions(exchange, error, time.monotonic() - exchange.started))
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


def derive_interactions(exchange: Exchange, error: str | None, total_seconds: float) -> list[InteractionRecorded]:
    """One interaction per choice. Completion tokens are counted over all choices: a single choice has them."""
    request, answers = exchange.request, exchange.answers
    ids = exchange.recorded_ids
    return [
        InteractionRecorded(
            interaction_id=interaction_id,
            messages=request.messages,
            answer=answer.text,
            model_version=exchange.served.version,
            served_at=exchange.served_at,
            key_id=exchange.key_id,
            conversation_id=request.conversation_id,
            user=exchange.user,
            intended_version=exchange.assignment.route.version,
            rollout_id=exchange.table.rollout_id,
            propensity=exchange.assignment.propensity,
            error=error,
            prompt_tokens=answers.prompt_tokens,
            completion_tokens=answers.completion_tokens if len(ids) == 1 else None,
            first_byte_seconds=exchange.first_byte_seconds,
            total_seconds=total_seconds,
            metadata=_describe(exchange, interaction_id, answer) or None,
        )
        for interaction_id, answer in (
            (interaction_id, answers.choices.get(index, Answer())) for index, interaction_id in enumerate(ids)
        )
    ]


def _describe(exchange: Exchange, interaction_id: UUID, answer: Answer) -> dict[str, Any]:
    """The client's metadata, and what else bears on the answer's worth as evidence."""
    metadata: dict[str, Any] = dict(exchange.request.body.get("metadata") or {})
    if answer.finish_reason:
        metadata["finish_reason"] = answer.finish_reason
    if answer.tool_calls:
        metadata["tool_calls"] = answer.tool_calls
    if exchange.request.body.get("tools"):
        metadata["tools"] = exchange.request.body["tools"]
    if exchange.fell_back_because:
        metadata["fell_back_because"] = exchange.fell_back_because
    siblings = [str(sibling) for sibling in exchange.recorded_ids if sibling != interaction_id]
    if siblings:
        metadata["sibling_interaction_ids"] = siblings
    return metadata


def _without_zeros(event: InteractionRecorded) -> InteractionRecorded:
    """Postgres can store U+0000 in neither text nor JSON: the replacement character stands in."""
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
