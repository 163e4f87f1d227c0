"""What a record holds that looks like feedback, and that its source's reader does not answer for."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from cli.exchange.found import Refused
from cli.exchange.ports import Reads, Record
from cli.exchange.shapes import parse_json

WORDS = frozenset({
    "accepted", "annotation", "annotations", "comment", "comments", "complaint", "complaints", "correction",
    "corrections", "critique", "csat", "dislike", "disliked", "dislikes", "downvote", "downvotes", "evaluation",
    "evaluations", "feedback", "feedbacks", "flagged", "grade", "helpful", "helpfulness", "judgement", "judgment",
    "label", "labels", "like", "liked", "likes", "nps", "preference", "preferred", "rating", "ratings", "reaction",
    "reactions", "review", "reviews", "satisfaction", "score", "scores", "star", "stars", "thumb", "thumbs",
    "thumbsdown", "thumbsup", "upvote", "upvotes", "verdict", "vote", "voted", "votes", "winner",
})  # fmt: skip
"""Of a member's name: what is called so is somebody's opinion, mostly."""
ABOUT = frozenset({
    "id", "ids", "at", "by", "author", "authors", "type", "updated", "created", "config", "configs", "source",
})  # fmt: skip
"""Beside one of those: this is about feedback, and holds none."""
CONTENT = frozenset({
    "input", "inputs", "output", "outputs", "content", "text", "prompt", "tools", "tool_calls",
    "arguments", "choices", "manifest", "proxy_server_request", "vectors",
})  # fmt: skip
"""Members that hold what was said to a model and by it, mostly at length."""
AS_JSON = ("metadata", "extra", "details", "annotations")
"""Members that tables hold as JSON in a text."""
NOTHING: tuple[Any, ...] = (None, "", [], {})
NAMED_VALUE = {"key", "value"}
CONTAINERS = (dict, list)
DEEPEST = 6
LONGEST_NAME = 100
"""Of a member: what follows in a longer one tells nothing, and would stand in the path of all that is below it."""
WORD = re.compile(r"[^\W\d_]+", re.UNICODE)
HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")
MOST_NAMES = 10_000


def find_unread(record: Record, reads: Reads, columns: Collection[str] = ()) -> Iterator[Refused]:
    """Find the members, at any depth down to six, that are called like feedback, hold something, and are not read.

    Each path is named once a record; members of a list have the path of the list. The operator named `columns`: they
    are read.

    Raises: Refused: one of them holds JSON that is nested too deep.
    """
    found: dict[str, None] = {}
    _walk(record, "", lambda path, value: path in columns or reads(record, path, value), found)
    for path in found:
        yield Refused("not_read", f"{path} looks like feedback, and is not read from this source", path)


def _walk(
    value: Any, path: str, reads: Callable[[str, Any], bool], found: dict[str, None], depth: int = DEEPEST
) -> None:
    """Add the paths to `found`. A path is put together only where it is needed: most members are texts."""
    if isinstance(value, list):
        inside = path if path.endswith("[]") else f"{path}[]"
        for one in value:
            if isinstance(one, CONTAINERS):
                _walk(one, inside, reads, found, depth)
        return
    for name, one in _list_members(value):
        if _looks_like_feedback(name) and one not in NOTHING and not reads(_join(path, name), one):
            found[_join(path, name)] = None
        elif isinstance(one, CONTAINERS):
            if depth > 1 and name not in CONTENT:
                _walk(one, _join(path, name), reads, found, depth - 1)
        elif name in AS_JSON and depth > 1 and isinstance(parsed := parse_json(one), CONTAINERS):
            _walk(parsed, _join(path, name), reads, found, depth - 1)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _list_members(value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """List the members of an object; of one that is a name with its value, that."""
    if len(value) == 2 and value.keys() == NAMED_VALUE:
        return [(str(value["key"])[:LONGEST_NAME], value["value"])]
    return ((name[:LONGEST_NAME], one) for name, one in value.items())


@lru_cache(MOST_NAMES)
def _looks_like_feedback(name: str) -> bool:
    words = {word.casefold() for part in WORD.findall(name) for word in HUMPS.split(part)}
    return bool((words & WORDS) and not words & ABOUT) or "👍" in name or "👎" in name
