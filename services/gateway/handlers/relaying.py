"""Pass the chunks of a reply on as they come, and record it before its last byte."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from services.gateway.adapters.upstream import Chunks
from services.gateway.domain.completions import may_be_last, place_choice, sum_usage
from services.gateway.domain.errors import UpstreamFailed
from services.gateway.handlers.exchange import Choice, Exchange
from services.gateway.handlers.recording import Recorder
from services.gateway.rendering import describe_error

Parts = AsyncGenerator[tuple[Choice, list[dict[str, Any]]], None]

_encode = msgspec.json.Encoder().encode


async def relay(
    exchange: Exchange, streams: Sequence[tuple[Choice, Chunks]], recorder: Recorder, family: str
) -> AsyncGenerator[bytes, None]:
    """Each chunk as it comes. Only one that may be the last of its choice is held back: it goes out, and the very last
    with what `heliotrope` has to say, when the exchange is on disk.
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
                    branded = brand(exchange, family, chunk)
                    if may_be_last(chunk):
                        held[choice.index] = branded
                    else:
                        ready.append(branded)
                if ready:
                    yield b"".join(map(make_event, ready))
    except (asyncio.CancelledError, GeneratorExit):
        recorder.record(exchange, "client_disconnected")
        raise
    await recorder.record_and_wait(exchange)
    *ready, last = [*held.values(), *_end(exchange, family, bool(held))]
    yield b"".join(map(make_event, [*ready, last | {"heliotrope": exchange.describe()}])) + b"data: [DONE]\n\n"


def brand(exchange: Exchange, family: str, body: dict[str, Any]) -> dict[str, Any]:
    """Under our own id and name: the model server's name for a model is its own affair."""
    answered = exchange.answered[0]
    if exchange.is_probe:
        return body | {"model": answered.served.version}
    return body | {"id": str(answered.interaction_id), "model": family}


def make_event(content: dict[str, Any]) -> bytes:
    return b"data: " + _encode(content) + b"\n\n"


def _end(exchange: Exchange, family: str, has_held: bool) -> list[dict[str, Any]]:
    """What follows the chunks: an error, or the sum of several choices' usage; something, if nothing was held back."""
    failure = next((choice.failure for choice in exchange.answered if choice.failure is not None), None)
    if failure is not None:
        return [describe_error(failure)]
    usage = sum_usage([choice.answer for choice in exchange.answered]) if exchange.tells_usage_last else {}
    if usage or not has_held:
        choices = [] if usage else [{"index": 0, "delta": {}, "finish_reason": None}]
        chunk = {"object": "chat.completion.chunk", "created": int(exchange.served_at.timestamp()), "choices": choices}
        return [brand(exchange, family, chunk | ({"usage": usage} if usage else {}))]
    return []


async def _follow(exchange: Exchange, choice: Choice, chunks: Chunks) -> Parts:
    """The chunks of one choice; a failure ends them and is kept with the choice."""
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
    """The chunks of several choices as they come, each under its place in the reply; usage is told at the end."""
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
