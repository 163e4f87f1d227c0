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
_TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "refusal")


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
        chunks = self._read(self._parser.finish())
        if self.failure is None and not self._finished:
            reason, what = ("no_finish_reason", "broke off") if self._chunks_seen else ("empty", "is empty")
            self.failure = UpstreamFailed(reason, f"the answer of version {self._version} {what}")
        return chunks

    def _read(self, events: list[bytes]) -> list[dict[str, Any]]:
        chunks: list[dict[str, Any]] = []
        for data in events:
            if self.is_done or data == DONE:
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
            chunks.append(chunk)
        self._chunks_seen = self._chunks_seen or bool(chunks)
        return chunks


class ChunkDecoder:
    """Decodes the chunks of one stream.

    Some servers split a character beyond the BMP into two chunks, as the halves of a surrogate pair, which alone are
    no valid JSON. A first half waits for the second; a half without the other becomes U+FFFD.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._waiting: dict[tuple[int, str], str] = {}

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

    def _join(self, chunk: dict[str, Any]) -> dict[str, Any]:
        choices = chunk.get("choices")
        for place, choice in enumerate(choices if isinstance(choices, list) else ()):
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if isinstance(delta, dict):
                for name in _TEXT_FIELDS:
                    self._join_field(delta, name, place)
        joined: dict[str, Any] = _replace_halves(chunk)
        return joined

    def _join_field(self, delta: dict[str, Any], name: str, place: int) -> None:
        text = delta.get(name)
        if not isinstance(text, str) or not text:
            return
        text = _pair(self._waiting.pop((place, name), "") + text)
        if "\ud800" <= text[-1] <= "\udbff":
            self._waiting[place, name] = text[-1]
            text = text[:-1]
        delta[name] = text


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
