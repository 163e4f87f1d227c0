"""A text as its reader sees it: hidden characters gone, odd spaces, hyphens and digits made plain."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import partial

HIDDEN = (
    "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f"
    "\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\ufeff"
)
SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
FULL_WIDTH = "".join(chr(point) for point in range(0xFF10, 0xFF1A)) + "\uff0b\uff0e\uff20"

_ODD = re.compile(f"[{HIDDEN}{SPACES}{HYPHENS}{FULL_WIDTH}](?:(?<=[{HIDDEN}{FULL_WIDTH}])|(?=[0-9(+]))")
_HIDDEN = re.compile(f"[{HIDDEN}]")
_PLAIN = (
    dict.fromkeys(map(ord, SPACES), " ")
    | dict.fromkeys(map(ord, HYPHENS), "-")
    | {ord(wide): chr(ord(wide) - 0xFEE0) for wide in FULL_WIDTH}
)


Locate = Callable[[int, int], tuple[int, int]]
"""From a span of the plain text to the original's."""


def make_plain(original: str) -> tuple[str, Locate]:
    if original.isascii() or _ODD.search(original) is None:
        return original, _stay
    hidden = [match.start() - before for before, match in enumerate(_HIDDEN.finditer(original))]
    return _HIDDEN.sub("", original).translate(_PLAIN), partial(_shift, hidden)


def _stay(start: int, end: int) -> tuple[int, int]:
    return start, end


def _shift(hidden: list[int], start: int, end: int) -> tuple[int, int]:
    """Hidden characters at a span's edges stay outside; `hidden` has the place of the plain character after each."""
    return start + bisect_right(hidden, start), end + bisect_left(hidden, end)
