"""How deep JSON from outside may be nested, so that recursive code can walk it."""

import re

from shared.errors import MalformedBody

MAX_DEPTH = 100
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_OPENING = frozenset(b"[{")
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""Matches from each quote to the string's end or the text's, so that no quote is looked at twice."""


def check_depth(raw: bytes) -> None:
    """Refuse JSON that is nested deeper than 100 levels, which recursive code further on could not walk.

    Takes time linear in the body's size. Raises: MalformedBody.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRINGS.sub(b"", raw).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in _OPENING else -1
        if depth > MAX_DEPTH:
            raise MalformedBody(f"the body is nested deeper than {MAX_DEPTH} levels")
