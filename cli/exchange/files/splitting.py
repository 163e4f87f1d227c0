"""The members of a JSON list of any size as they stand in the file, so that a broken one costs itself alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_MARK = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_WITHIN = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_BETWEEN = re.compile(rb'(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""What is skipped up to the next mark: a bracket or, between members, a comma; strings are skipped whole."""
_REST = re.compile(rb'(?:[^"\\]++|\\.)*+("?)', re.DOTALL)
"""Of a string that was begun."""
_OPENING, _CLOSING = b"[{", b"]}"
QUOTE, COMMA = b'",'


def find_list(head: bytes, wrappers: tuple[str, ...]) -> int | None:
    """Find where the first member of a list begins: of the file itself, or of its object's list of one of these names.

    None if there is no such list in the file's head.
    """
    names = {f'"{name}"'.encode() for name in wrappers}
    depth, name, end = 0, b"", 0
    for mark in _MARK.finditer(head):
        sign = mark[0][:1]
        before = head[end : mark.start()].strip()
        if sign == b"[" and (depth == 0 or (depth == 1 and name in names and before == b":")):
            return mark.end()
        name, end = mark[0], mark.end()
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if depth <= 0:
            return None
    return None


@dataclass
class ListSplitter:
    """Splits what follows a list's opening bracket, chunk by chunk; `is_ended` once its closing one was seen."""

    longest: int
    """Bytes of a member; a longer one comes as None."""
    is_ended: bool = field(default=False, init=False)
    _held: bytes = field(default=b"", init=False, repr=False)
    _begin: int = field(default=0, init=False)
    _scanned: int = field(default=0, init=False)
    _depth: int = field(default=0, init=False)
    _in_string: bool = field(default=False, init=False)
    _is_too_long: bool = field(default=False, init=False)

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """Yield the members that end in this chunk."""
        self._held += chunk
        if self._in_string:
            self._leave_string()
        while not self._in_string and not self.is_ended and self._go_to_mark():
            mark = self._held[self._scanned - 1]
            if mark == QUOTE:
                self._leave_string()
            elif mark in _OPENING:
                self._depth += 1
            elif self._depth == 0:
                yield from self._take()
                self.is_ended = mark != COMMA
            else:
                self._depth -= 1
        self._forget()

    def rest(self) -> bytes:
        """Return what was begun and did not end."""
        return self._held.strip()

    def _go_to_mark(self) -> bool:
        """Go behind the next bracket, the comma between members, or the quote of a string that does not end here."""
        skipped = (_WITHIN if self._depth else _BETWEEN).match(self._held, self._scanned)
        at = skipped.end() if skipped else self._scanned
        self._scanned = min(at + 1, len(self._held))
        return at < self._scanned

    def _leave_string(self) -> None:
        rest = _REST.match(self._held, self._scanned)
        if rest is not None:
            self._scanned, self._in_string = rest.end(), not rest[1]

    def _take(self) -> Iterator[bytes | None]:
        member = self._held[self._begin : self._scanned - 1].strip()
        if member or self._is_too_long:
            yield None if self._is_too_long or len(member) > self.longest else member
        self._begin, self._is_too_long = self._scanned, False

    def _forget(self) -> None:
        """Forget what was taken, and what is too long to be kept."""
        if self._scanned - self._begin > self.longest:
            self._is_too_long, self._begin = True, self._scanned
        self._held, self._scanned, self._begin = self._held[self._begin :], self._scanned - self._begin, 0
