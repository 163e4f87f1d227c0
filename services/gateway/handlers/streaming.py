"""Stream a reply: pass chunks on as they come, and record the exchange before the last byte."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from services.gateway.adapters.upstream import Chunks
from services.gateway.domain.beginnings import Beginnings
from services.gateway.domain.completions import may_be_last, place_choice, sum_usage
from services.gateway.domain.errors import UpstreamFailed, describe_error
from services.gateway.handlers.exchange import Choice, Exchange
from services.gateway.handlers.recording import Recorder

Part = tuple[Choice, list[dict[str, Any]]]
Parts = AsyncGenerator[Part, None]

CLIENT_LEFT = "client_disconnected"
"""The `error` of an answer whose client left before its end; nobody has seen all of it."""

_encode = msgspec.json.Encoder().encode


async def relay(
    exchange: Exchange, streams: Sequence[tuple[Choice, Chunks]], recorder: Recorder, family: str
) -> AsyncGenerator[bytes, None]:
    """Yield each chunk as it comes, but hold back one that may be the last of its choice until the exchange is on disk.

    The very last carries `heliotrope`.
    """
    held: dict[int, dict[str, Any]] = {}
    parts = _follow(exchange, *streams[0]) if len(exchange.choices) == 1 else _merge(exchange, streams)
    try:
        async with aclosing(parts):
            async for choice, chunks in parts:
                ready = []
                for chunk in chunks:
                    if before := held.pop(choice.index, None):
                        ready.append(before)
                    renamed = rename(exchange, family, chunk)
                    if may_be_last(chunk):
                        held[choice.index] = renamed
                    else:
                        ready.append(renamed)
                if ready:
                    yield b"".join(map(make_event, ready))
    except (asyncio.CancelledError, GeneratorExit):
        recorder.record(exchange, CLIENT_LEFT)
        raise
    await recorder.record_and_wait(exchange)
    *ready, last = [*held.values(), *_end(exchange, family, bool(held))]
    yield b"".join(map(make_event, [*ready, last | {"heliotrope": exchange.describe()}])) + b"data: [DONE]\n\n"


def rename(exchange: Exchange, family: str, body: dict[str, Any]) -> dict[str, Any]:
    """Put our own id and model name in place of the model server's."""
    answered = exchange.answered[0]
    if exchange.is_probe:
        return body | {"model": answered.served.version}
    return body | {"id": str(answered.interaction_id), "model": family}


def make_event(content: dict[str, Any]) -> bytes:
    return b"data: " + _encode(content) + b"\n\n"


def _end(exchange: Exchange, family: str, has_held: bool) -> list[dict[str, Any]]:
    """Return what follows the chunks: an error, the usage of several choices, or an empty chunk if none was held."""
    failure = next((choice.failure for choice in exchange.answered if choice.failure is not None), None)
    if failure is not None:
        return [describe_error(failure)]
    usage = sum_usage([choice.answer for choice in exchange.answered]) if exchange.wants_summed_usage else {}
    if usage or not has_held:
        choices = [] if usage else [{"index": 0, "delta": {}, "finish_reason": None}]
        chunk = {"object": "chat.completion.chunk", "created": int(exchange.served_at.timestamp()), "choices": choices}
        return [rename(exchange, family, chunk | ({"usage": usage} if usage else {}))]
    return []


async def _follow(exchange: Exchange, choice: Choice, chunks: Chunks) -> Parts:
    """Yield the chunks of one choice; a failure ends them and is kept with the choice."""
    try:
        async with aclosing(chunks):
            async for together in chunks:
                for chunk in together:
                    choice.answer.add_chunk(chunk)
                yield choice, together
    except UpstreamFailed as failure:
        choice.failure = failure
    choice.total_seconds = exchange.elapsed_seconds


async def _merge(exchange: Exchange, streams: Sequence[tuple[Choice, Chunks]]) -> Parts:
    """Yield the chunks of several choices as they come, under their index in the reply; without usage."""
    followed = [_follow(exchange, choice, chunks) for choice, chunks in streams]
    following = {asyncio.ensure_future(anext(parts, None)): place for place, parts in enumerate(followed)}
    beginnings: Beginnings[Part] = Beginnings(len(followed))
    try:
        while following:
            done, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            for came in done:
                place, part = following.pop(came), came.result()
                if part is not None:
                    following[asyncio.ensure_future(anext(followed[place], None))] = place
                for ready in _place(beginnings, place, part):
                    yield ready
    finally:
        for waiting in following:
            waiting.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        for parts in followed:
            await parts.aclose()


def _place(beginnings: Beginnings[Part], place: int, part: Part | None) -> list[Part]:
    """Return what may go out once a choice has said something, or has ended."""
    if part is None:
        return beginnings.end(place)
    placed = [place_choice(chunk, place) for chunk in part[1] if chunk.get("choices")]
    return beginnings.take(place, (part[0], placed)) if placed else []
