"""Rows of `prompt`, `chosen` and `rejected`: our own plain shape."""

from cli.exchange.found import Found, ImportedFeedback, Options, Preferred, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.shapes import build_answer, calculate_key, read_answer, read_messages, read_name, read_time


def read(record: Record, options: Options) -> Found:
    """Read a pair: `prompt` is a text or messages; `chosen` and `rejected` are texts, or messages that end with the
    answer.
    """
    messages = read_messages(record.get("prompt"))
    sides = [read_answer(record.get(side)) for side in ("chosen", "rejected")]
    user, at = read_user(record), read_time(record.get("at") or record.get("created_at"))
    key = calculate_key(messages, sides, user)
    answers = [
        build_answer(f"{key}:{side}", messages, answer, user=user, at=at)
        for side, answer in zip(("chosen", "rejected"), sides, strict=True)
    ]
    said = Preferred(other=f"{key}:rejected", key=f"{key}:chosen")
    return Found(answers, [ImportedFeedback(key, f"{key}:chosen", said, user, at)])


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
