"""Beside the official OpenAI client: one line, and its replies say under which ids their answers are known.

    client = connect(OpenAI(base_url="http://gateway/v1", api_key=key))
    reply = client.chat.completions.create(model="heliotrope", messages=messages)
    heliotrope.send(thumb(find_interaction_id(reply), "up"))

Through the gateway the ids are the gateway's. Of any other server's replies the client given as `record` records each
answer, under an id that follows from the reply's own.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar, cast

from openai import AsyncOpenAI, AsyncStream, NotGiven, OpenAI, Stream

from heliotrope_client.errors import HeliotropeError
from heliotrope_client.interactions import Interaction, derive_interaction_id

Client = TypeVar("Client", bound=OpenAI | AsyncOpenAI)
Record = Callable[[Interaction], None]

CHAT = "/chat/completions"
IDS_HEADER, VERSION_HEADER = "x-heliotrope-interaction-ids", "x-heliotrope-model-version"

logger = logging.getLogger("heliotrope_client")


def connect(client: Client, record: Record | None = None) -> Client:
    """Return a client like the given one, on the same connections, whose chat replies carry `interaction_id`.

    So do each of their choices, streams and their chunks, raw and parsed replies. `record` is told of each answer that
    no gateway recorded: `heliotrope.queue` of a client for threads, most simply.
    """
    kind: Any = type(client)
    own = {"_record": staticmethod(record) if record else None}
    connected: Client = object.__new__(type(kind.__name__, (_Connected, kind), own))
    # not what the class made for the client that was given, as it was asked for: `chat`, and others
    kept = {
        name: value
        for name, value in vars(client).items()
        if not isinstance(getattr(kind, name, None), cached_property)
    }
    vars(connected).update(kept)
    return connected


def find_interaction_id(reply: Any, choice: int = 0) -> str:
    """Return the id of one of a reply's choices; of a stream, once its first chunk came.

    Raises: LookupError: the reply has none: the client is not connected, or nothing recorded the answer.
    """
    ids = getattr(reply, "interaction_ids", None) or []
    if choice >= len(ids):
        raise LookupError("the reply carries no interaction id: was it asked of a client from `connect`?")
    return str(ids[choice])


class _Connected:
    """What is added to an OpenAI client's class, sync or async: `with_options` makes another of the class."""

    _record: Record | None = None

    def post(self, path: str, *, options: Mapping[str, Any] | None = None, **more: Any) -> Any:
        given: dict[str, Any] = dict(options or {})
        if path == CHAT:
            given["post_parser"] = _after(given.get("post_parser"), _Reader(more.get("body"), self._record))
        return super().post(path, options=given, **more)  # type: ignore[misc]


def _after(parse: Any, read: "_Reader") -> Callable[[Any], Any]:
    """Return the library's own parsing, if there is one, and then ours."""
    if parse is None or isinstance(parse, NotGiven):
        return read
    return lambda reply: read(parse(reply))


class _Reader:
    """Reads one reply, or the stream of one."""

    def __init__(self, body: Any, record: Record | None) -> None:
        self._body: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        self._record = record
        self._texts: dict[int, str] = {}

    def __call__(self, reply: Any) -> Any:
        if isinstance(reply, Stream):
            reply._iterator = self._follow(reply, reply._iterator)
            self._name(reply, _read_header(reply))
        elif isinstance(reply, AsyncStream):
            reply._iterator = self._follow_async(reply, reply._iterator)
            self._name(reply, _read_header(reply))
        elif hasattr(reply, "choices"):
            for choice in reply.choices:
                self._texts[choice.index] = choice.message.content or ""
            self._name(reply, _read_told(reply))
            self._end(reply)
        return reply

    def _follow(self, stream: Any, chunks: Iterator[Any]) -> Iterator[Any]:
        for chunk in chunks:
            yield self._read_chunk(stream, chunk)
        self._end(stream)

    async def _follow_async(self, stream: Any, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for chunk in chunks:
            yield self._read_chunk(stream, chunk)
        self._end(stream)

    def _read_chunk(self, stream: Any, chunk: Any) -> Any:
        for choice in chunk.choices:
            self._texts[choice.index] = self._texts.get(choice.index, "") + (choice.delta.content or "")
        self._name(chunk, _read_told(chunk) or _read_header(stream))
        stream.interaction_ids, stream.interaction_id = chunk.interaction_ids, chunk.interaction_id
        stream.id, stream.model = chunk.id, chunk.model
        return chunk

    def _name(self, reply: Any, ids: list[str]) -> None:
        """Say the ids: the gateway's, else those under which the answers will be recorded."""
        choices = getattr(reply, "choices", [])
        if self._record is not None and not _is_of_gateway(reply) and getattr(reply, "id", None):
            most = max([*self._texts, *(choice.index for choice in choices)], default=0)
            ids = [str(derive_interaction_id(reply.id, index)) for index in range(most + 1)]
        reply.interaction_ids, reply.interaction_id = ids, ids[0] if ids else None
        for choice in choices:
            choice.interaction_id = ids[choice.index] if choice.index < len(ids) else None

    def _end(self, reply: Any) -> None:
        """Record what no gateway recorded. An answer is never lost for it: what cannot be recorded is logged."""
        if self._record is None or _is_of_gateway(reply) or getattr(reply, "id", None) is None:
            return
        for index, text in self._texts.items():
            if text:
                try:
                    self._record(self._make_interaction(reply, index, text))
                except HeliotropeError as error:
                    logger.warning("an answer was not recorded: %s", error)

    def _make_interaction(self, reply: Any, index: int, text: str) -> Interaction:
        return Interaction(
            messages=[dict(message) for message in self._body.get("messages", [])],
            answer=text,
            model_version=reply.model or str(self._body.get("model")),
            user_id=self._body.get("user") or None,
            metadata={"reply_id": reply.id},
            interaction_id=derive_interaction_id(reply.id, index),
        )


def _read_told(reply: Any) -> list[str]:
    """Read what the gateway put into a reply, or into a stream's last chunk."""
    told = getattr(reply, "heliotrope", None)
    return [str(one) for one in told.get("interaction_ids", [])] if isinstance(told, Mapping) else []


def _is_of_gateway(reply: Any) -> bool:
    response = getattr(reply, "response", None)
    return hasattr(reply, "heliotrope") or (response is not None and VERSION_HEADER in response.headers)


def _read_header(stream: Any) -> list[str]:
    response = getattr(stream, "response", None)
    listed = cast(str, response.headers.get(IDS_HEADER, "")) if response is not None else ""
    return [one.strip() for one in listed.split(",") if one.strip()]
