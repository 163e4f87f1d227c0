"""Read what a model server sends: JSON, errors in their several shapes, characters split between chunks."""

import json
from typing import Any

import msgspec

from services.gateway.domain.completions import ends_choice, has_choices, read_finish
from services.gateway.domain.errors import UpstreamFailed
from services.gateway.domain.sse import EventParser
from shared.finishes import classify_finish

DONE = b"[DONE]"
MAX_EVENT_BYTES = 16 * 2**20

_decoder: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])

Path = tuple[str | int, ...]
"""Where a text stands in a chunk: names of members, and of items of lists their index."""


def decode_completion(data: bytes, version: str) -> dict[str, Any]:
    """Return a whole answer.

    Raises:
        UpstreamFailed: not JSON, an error under the status 200, no choice, or one without a finish reason.
    """
    body = _decode(data, version)
    check_error(body, data)
    if not has_choices(body):
        raise UpstreamFailed("no_choices", f"version {version} answered without a choice")
    if not read_finish(body["choices"][0]):
        raise UpstreamFailed("no_finish_reason", f"the answer of version {version} has no finish reason")
    return body


def _is_failed(finish_reason: object) -> bool:
    return isinstance(finish_reason, str) and classify_finish(finish_reason) == "failed"


def check_error(body: dict[str, Any], data: bytes) -> None:
    """Raise UpstreamFailed for an error, in OpenAI's shape, vLLM's (`object`) or OpenRouter's (in the choice).

    An `error` that is null is none.
    """
    error = body.get("error")
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and (choice.get("error") or _is_failed(choice.get("finish_reason"))):
            error = error or choice.get("error") or {"message": "generation broke off"}
            data = msgspec.json.encode({"error": error})
    if error or body.get("object") == "error":
        status = error.get("code") if isinstance(error, dict) else body.get("code")
        known = isinstance(status, int) and 400 <= status <= 599
        raise UpstreamFailed(
            "error_in_answer",
            "the model server failed while it answered",
            upstream_status=status if known else None,
            body=data,
        )


class StreamReader:
    """Turns the bytes of one stream into chunks, and says whether they are a whole answer.

    A whole answer has a finish reason; `[DONE]` is not asked for, since some servers send none.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._parser = EventParser()
        self._decoder = ChunkDecoder(version)
        self._chunks_seen = self._finished = False
        self.is_done = False
        """After `[DONE]`, or once the stream has failed: nothing that follows counts."""
        self.failure: UpstreamFailed | None = None

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """Return the chunks that a piece completes, up to a failure."""
        chunks = self._read(self._parser.feed(piece))
        if self._parser.waiting_bytes > MAX_EVENT_BYTES and not self.is_done:
            self.failure, self.is_done = UpstreamFailed("malformed", f"version {self._version} ends no event"), True
        return chunks

    def finish(self) -> list[dict[str, Any]]:
        """Return what was left when the stream ended, and find out whether it ended properly."""
        chunks = self._read(self._parser.finish()) + self._decoder.flush()
        if self.failure is None and not self._finished:
            reason, what = ("no_finish_reason", "broke off") if self._chunks_seen else ("empty", "is empty")
            self.failure = UpstreamFailed(reason, f"the answer of version {self._version} {what}")
        return chunks

    def _read(self, events: list[bytes]) -> list[dict[str, Any]]:
        chunks: list[dict[str, Any]] = []
        for data in events:
            if self.is_done or data.strip() == DONE:
                self.is_done = True
                break
            if not data.strip():
                continue
            try:
                chunk = self._decoder.decode(data)
            except UpstreamFailed as failure:
                self.failure, self.is_done = failure, True
                break
            self._finished = self._finished or ends_choice(chunk)
            chunks += [*(self._decoder.flush() if ends_choice(chunk) else []), chunk]
        self._chunks_seen = self._chunks_seen or bool(chunks)
        return chunks


class ChunkDecoder:
    """Decodes the chunks of one stream.

    Some servers split a character beyond the BMP into two chunks, as the halves of a surrogate pair, which alone are
    no valid JSON. A first half waits for the second; a half without the other becomes U+FFFD.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._waiting: dict[Path, str] = {}
        self._kinds: dict[Path, str] = {}
        """Types of the list items in which a half waits."""
        self._is_last = False
        """Whether the chunk ends a choice, after which no other half comes."""

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the chunk. Raises: UpstreamFailed, when it is not JSON or says that the server failed."""
        if self._waiting:
            chunk = self._join(_decode_leniently(data, self._version))
        else:
            try:
                chunk = _decoder.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                chunk = self._join(_decode_leniently(data, self._version))
        check_error(chunk, data)
        return chunk

    def flush(self) -> list[dict[str, Any]]:
        """Return chunks with U+FFFD for the halves whose other half never came."""
        waiting, self._waiting = self._waiting, {}
        return [{"choices": [{"index": path[0], "delta": self._nest(path, 1)}]} for path in waiting]

    def _nest(self, path: Path, depth: int) -> Any:
        """Put U+FFFD where the half would stand."""
        if depth == len(path):
            return "\ufffd"
        inner, step = self._nest(path, depth + 1), path[depth]
        if isinstance(step, str):
            return {step: inner}
        kind = self._kinds.get(path[: depth + 1])
        return [{"index": step} | ({"type": kind} if kind else {}) | inner if isinstance(inner, dict) else inner]

    def _join(self, chunk: dict[str, Any]) -> dict[str, Any]:
        choices = chunk.get("choices")
        self._is_last = ends_choice(chunk)
        for place, choice in enumerate(choices if isinstance(choices, list) else ()):
            if isinstance(choice, dict) and "delta" in choice:
                choice["delta"] = self._join_halves(choice["delta"], (_read_place(choice, place),))
        joined: dict[str, Any] = _replace_halves(chunk)
        return joined

    def _join_halves(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {name: self._join_halves(item, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self._join_item(item, (*path, _read_place(item, place))) for place, item in enumerate(value)]
        if not isinstance(value, str) or not value:
            return value
        text = _pair(self._waiting.pop(path, "") + value)
        if "\ud800" <= text[-1] <= "\udbff" and not self._is_last:
            self._waiting[path] = text[-1]
            text = text[:-1]
        return text

    def _join_item(self, item: Any, path: Path) -> Any:
        if isinstance(item, dict) and isinstance(item.get("type"), str):
            self._kinds[path] = item["type"]
        return self._join_halves(item, path)


def _read_place(item: Any, place: int) -> int:
    """Return an item's index, by which the next chunk calls it too; else its place."""
    index = item.get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else place


def _decode(data: bytes, version: str) -> dict[str, Any]:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body: dict[str, Any] = _replace_halves(_decode_leniently(data, version))
        return body


def _decode_leniently(data: bytes, version: str) -> dict[str, Any]:
    """Decode although halves of surrogate pairs, or bytes that are not UTF-8, are in it."""
    try:
        body = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise UpstreamFailed("malformed", f"version {version} did not answer in JSON")
    return body


def _pair(text: str) -> str:
    """Make a character of each two halves of one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _replace_halves(value: Any) -> Any:
    """Replace halves of surrogate pairs by U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_replace_halves(key): _replace_halves(item) for key, item in value.items()}
    return [_replace_halves(item) for item in value] if isinstance(value, list) else value
