"""Stream a reply: pass chunks on as they come, and record the exchange before the last byte."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from services.gateway.adapters.upstream import Chunks
from services.gateway.domain.completions import may_be_last, place_choice, sum_usage
from services.gateway.domain.errors import UpstreamFailed, describe_error
from services.gateway.handlers.exchange import Choice, Exchange
from services.gateway.handlers.recording import Recorder

Parts = AsyncGenerator[tuple[Choice, list[dict[str, Any]]], None]

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
    followed = {choice.index: _follow(exchange, choice, chunks) for choice, chunks in streams}
    places = {index: place for place, index in enumerate(followed)}
    following = {asyncio.ensure_future(anext(parts, None)): parts for parts in followed.values()}
    try:
        while following:
            done, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            for came in done:
                parts = following.pop(came)
                if (part := came.result()) is None:
                    continue
                following[asyncio.ensure_future(anext(parts, None))] = parts
                choice, chunks = part
                yield choice, [place_choice(chunk, places[choice.index]) for chunk in chunks if chunk.get("choices")]
    finally:
        for waiting in following:
            waiting.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        for parts in followed.values():
            await parts.aclose()
