"""ShareGPT: conversations of `from` and `value`, with the preferences and labels that training tools add to them."""

from typing import Any

from cli.exchange.found import Found, ImportedFeedback, Options, Preferred, Refused
from cli.exchange.ports import Importer, Record, name_read
from cli.exchange.scales import derive_label
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    first_filled,
    parse_json,
    read_answer,
    read_messages,
    read_name,
    read_side,
    read_time,
)
from shared.events import Message

LISTS = ("conversations", "conversation", "items", "messages")
"""Members that hold the turns."""


def read(record: Record, options: Options) -> Found:
    """Read a conversation: every turn of the assistant is an answer. `chosen` and `rejected` answer the whole
    conversation; `kto_tag` (or `label`) judges its last turn. Who said so, and when, no file says.
    """
    listed = first_filled(record, LISTS)
    if listed is None:
        raise Refused("no_messages", f"none of {', '.join(LISTS)} holds anything")
    messages = read_messages(parse_json(listed))
    if system := record.get("system"):
        messages = [{"role": "system", "content": str(system)}, *messages]
    key = read_name(record.get("id")) or calculate_key(messages)
    said: dict[str, Any] = {"model": read_name(record.get("model")), "at": read_time(record.get("created_at"))}
    answers = [
        build_answer(f"{key}:{place}", messages[:place], read_answer(turn), **said)
        for place, turn in enumerate(messages)
        if turn["role"] == "assistant" and place
    ]
    if "chosen" in record:
        return _read_preference(key, record, messages, said)
    if not answers:
        raise Refused("no_answer", "a conversation in which the assistant answers nothing")
    found = Found(answers)
    name = "kto_tag" if "kto_tag" in record else "label"
    try:
        if (thumb := derive_label(name, record.get(name))) is not None:
            found.feedback.append(ImportedFeedback(f"{key}:label", answers[-1].key, thumb))
    except Refused as refused:
        found.refused.append(refused)
    return found


def _read_preference(key: str, record: Record, messages: list[Message], said: dict[str, Any]) -> Found:
    sides = {side: read_side(record, side) for side in ("chosen", "rejected")}
    key = f"{key}:{calculate_key(sides)[:16]}"
    answers = [build_answer(f"{key}:{side}", messages, answer, **said) for side, answer in sides.items()]
    preferred = Preferred(other=f"{key}:rejected", key=f"{key}:chosen")
    return Found(answers, [ImportedFeedback(key, f"{key}:chosen", preferred)])


IMPORTER = Importer(
    "ShareGPT: conversations, preferences, labels", read, ("data", "conversations"), reads=name_read("kto_tag", "label")
)
