"""ShareGPT: conversations of `from` and `value`, with the preferences and labels that training tools add to them."""

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
    read_time,
)
from shared.events import Message, Thumb


def read(record: Record, options: Options) -> Found:
    """Read a conversation: every turn of the assistant is an answer. `chosen` and `rejected` answer the whole
    conversation; `kto_tag` (or `label`) judges its last turn. Who said so, and when, no file says.
    """
    listed = record.get("conversations") or record.get("conversation") or record.get("items") or record.get("messages")
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
    label = record.get("kto_tag", record.get("label"))
    feedback = []
    if isinstance(label, bool) and answers:
        thumb = Thumb(value="up" if label else "down")
        feedback.append(ImportedFeedback(f"{key}:label", answers[-1].key, thumb))
    if not answers:
        raise Refused("no_answer", "a conversation in which the assistant answers nothing")
    return Found(answers, feedback)


def _read_preference(key: str, record: Record, messages: list[Message], said: dict[str, Any]) -> Found:
    sides = {side: read_answer(record.get(side)) for side in ("chosen", "rejected")}
    key = f"{key}:{calculate_key(sides)[:16]}"
    answers = [build_answer(f"{key}:{side}", messages, answer, **said) for side, answer in sides.items()]
    preferred = Preferred(other=f"{key}:rejected", key=f"{key}:chosen")
    return Found(answers, [ImportedFeedback(key, f"{key}:chosen", preferred)])


IMPORTER = Importer("ShareGPT: conversations, preferences, labels", read, ("data", "conversations"))
