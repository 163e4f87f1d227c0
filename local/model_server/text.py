"""Tokens into text, piece by piece."""

from typing import Any

UNFINISHED = "\ufffd"
"""How a decoder shows bytes that are no whole character, or not yet."""


class Writer:
    """The text of one answer. What may be the beginning of a stop string, or of a character, is held back."""

    def __init__(self, tokenizer: Any, stops: tuple[str, ...] = ()) -> None:
        self._tokenizer, self._stops = tokenizer, stops
        self._tokens: list[int] = []
        self._told = self._read = 0
        self._held = ""
        self.is_stopped = False
        """Whether a stop string was met; nothing after it is text."""

    def add(self, token: int) -> str:
        """Add a token and return the text that is certain now."""
        self._tokens.append(token)
        before, now = self._decode(self._told, self._read), self._decode(self._told, None)
        if len(now) <= len(before) or now.endswith(UNFINISHED):
            return ""
        self._told, self._read = self._read, len(self._tokens)
        return self._release(now[len(before) :])

    def finish(self) -> str:
        """Return what was held back, an unfinished character included."""
        if self.is_stopped:
            return ""
        before, now = self._decode(self._told, self._read), self._decode(self._told, None)
        rest = self._release(now[len(before) :])
        return rest if self.is_stopped else rest + self._held

    def _decode(self, start: int, stop: int | None) -> str:
        return str(self._tokenizer.decode(self._tokens[start:stop], skip_special_tokens=True))

    def _release(self, text: str) -> str:
        """Return what of the held text and this cannot be part of a stop string."""
        text = self._held + text
        met = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if met:
            self.is_stopped, self._held = True, ""
            return text[: min(met)]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """Return how long a beginning of `stop` the text ends with."""
    return next((length for length in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:length])), 0)
