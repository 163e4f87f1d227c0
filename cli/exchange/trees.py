"""Conversations that are trees: where a user asked again, a message has several answers."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from cli.exchange.found import Time
from shared.events import Message


@dataclass(frozen=True)
class Node:
    """A message under its parent; None: a node that only links others."""

    key: str
    parent: str | None
    message: Message | None
    at: Time = None
    model: str | None = None
    is_alone: bool = False
    """One answer was shown at a time: a later answer to the same message was asked for in its place."""
    replaced_by: str | None = None


def read_tree(nodes: Sequence[Node]) -> Iterator[tuple[str, list[Message], Node]]:
    """Read each answer with the conversation before it: (its key, the messages, the node).

    Siblings are told to replace each other in their order.
    """
    by_key = {node.key: node for node in nodes}
    siblings: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        if _is_answer(node) and node.is_alone and (asked := _find_question(node, by_key)):
            siblings[asked].append(node)
    successor = {one.key: other.key for group in siblings.values() for one, other in pairwise(group)}
    for node in nodes:
        if _is_answer(node) and (messages := _list_before(node, by_key)):
            yield node.key, messages, replace(node, replaced_by=successor.get(node.key))


def _is_answer(node: Node) -> bool:
    return node.message is not None and node.message["role"] == "assistant"


def _find_question(node: Node, by_key: dict[str, Node]) -> str | None:
    """Find the message that a node answers, past nodes that only link."""
    before = next((one for one in _walk_up(node, by_key) if one.message is not None), None)
    return before.key if before and before.message and before.message["role"] == "user" else None


def _list_before(node: Node, by_key: dict[str, Node]) -> list[Message]:
    return [one.message for one in reversed(list(_walk_up(node, by_key))) if one.message is not None]


def _walk_up(node: Node, by_key: dict[str, Node]) -> Iterator[Node]:
    seen = {node.key}
    while node.parent in by_key and node.parent not in seen:
        node = by_key[node.parent]
        seen.add(node.key)
        yield node
