"""Rows of `prompt`, `chosen` and `rejected`: our own plain shape, and the shapes that training libraries read."""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from cli.exchange.found import Found, ImportedFeedback, Options, Preferred, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    parse_json,
    read_answer,
    read_messages,
    read_name,
    read_side,
    read_time,
    read_tools,
)
from shared.events import Message

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


def read(record: Record, options: Options) -> Found:
    """Read a pair: `prompt` is a text or messages; `chosen` and `rejected` are texts, or messages that end with the
    answer. Without a prompt both sides are whole conversations (messages, or transcripts of Human and Assistant) that
    differ in their last answer.
    """
    messages, sides = read_sides(record)
    user, at = read_user(record), read_time(record.get("at") or record.get("created_at"))
    tools = read_tools(record.get("tools"))
    key = calculate_key(messages, sides, user, *([tools] if tools else []))
    answers = [
        build_answer(f"{key}:{side}", messages, answer, user=user, at=at, tools=tools)
        for side, answer in zip(("chosen", "rejected"), sides, strict=True)
    ]
    said = Preferred(other=f"{key}:rejected", key=f"{key}:chosen")
    return Found(answers, [ImportedFeedback(key, f"{key}:chosen", said, user, at)])


def read_sides(record: Record) -> tuple[list[Message], list[Message]]:
    """Read a pair's conversation and its two answers, the chosen one first.

    Raises: Refused: one of them is not there; or nobody can tell the prompt from the answers.
    """
    chosen, rejected = (parse_json(record.get(side)) for side in ("chosen", "rejected"))
    prompt = find_prompt(record)
    if prompt is None:
        return split_common(_read_whole(chosen), _read_whole(rejected))
    return read_messages(prompt), [read_side(record, side) for side in ("chosen", "rejected")]


def find_prompt(record: Record) -> Any:
    """Find the prompt under its usual names, after the system's message if there is one; None if there is none."""
    found = next((record[name] for name in ("prompt", "instruction", "question", "input") if record.get(name)), None)
    system = record.get("system") or record.get("system_prompt")
    if found is None or not system:
        return found
    return [{"role": "system", "content": str(system)}, *read_messages(found)]


def _read_whole(side: Any) -> list[Message]:
    """Read a whole conversation: messages, or a transcript of Human and Assistant."""
    if isinstance(side, list | Mapping):
        return read_messages(side)
    if not isinstance(side, str):
        raise Refused("no_answer", "no chosen or no rejected answer")
    if not side.lstrip().startswith(HUMAN.strip()):
        raise Refused("no_prompt", "no prompt, and chosen is no conversation")
    messages: list[Message] = []
    for part in ("\n\n" + side.lstrip()).split(HUMAN)[1:]:
        asked, *replies = part.split(ASSISTANT)
        messages.append({"role": "user", "content": asked.strip()})
        messages += [{"role": "assistant", "content": reply.strip()} for reply in replies]
    return messages


def split_common(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], list[Message]]:
    """Split two conversations that begin alike into (what is common, [their last answers]).

    Raises: Refused: more than the last answer differs.
    """
    common = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))]
    ends = [chosen[len(common) :], rejected[len(common) :]]
    if not common or any(len(end) != 1 or end[0]["role"] != "assistant" for end in ends):
        raise Refused("no_common_prompt", "chosen and rejected differ in more than their last answer")
    return common, [read_answer(end) for end in ends]


def read_user(record: Record) -> str | None:
    """Read a row's user. Raises: Refused: it is no text and no whole number."""
    name = "user_id" if record.get("user_id") is not None else "user"
    value = record.get(name)
    if value is None or value == "":
        return None
    if (user := read_name(value)) is None:
        raise Refused("no_user", f"{name} must be a text or a whole number")
    return user


IMPORTER = Importer("rows of prompt, chosen, rejected", read)
