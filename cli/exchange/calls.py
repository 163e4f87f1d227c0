"""What a traced call was asked and answered: members of its input and output, by their usual names or by --column."""

from collections.abc import Mapping
from typing import Any

from cli.exchange.found import Options, Refused
from cli.exchange.shapes import dig, first_filled, parse_json, read_answer, read_messages, says_who
from shared.events import Message

COLUMNS = ("prompt", "answer")
"""What `--column` can name of a call: a member of its input, and one of its output, with dots where they are nested."""
ANSWERS = ("output", "answer", "response", "result", "output_text", "completion", "reply", "generation")
"""Members of a call's output that hold what was answered."""
CHOICES, FAILURES = {"choices", "generations", "messages"}, {"error", "errors", "exception"}
"""Members that are read as they stand, and that are no answer, even where an output has no other one."""
SIDES = {"prompt": "input", "answer": "output"}
ARGUMENTS = {"args", "kwargs"}
"""What a traced function was called with, as decorators write it down."""


def read_question(value: Any, options: Options) -> list[Message]:
    """Read what was asked. Raises: Refused: it is not there, or nobody says which member it is."""
    value = _unwrap(parse_json(value))
    try:
        return read_messages(_pick(value, options, "prompt"))
    except Refused as refused:
        raise _name_members(refused, value, "prompt") from None


def read_reply(value: Any, options: Options) -> Message:
    """Read what was answered. Raises: Refused: it is not there, or nobody says which member it is."""
    value = parse_json(value)
    try:
        return read_answer(_descend(_pick(value, options, "answer")))
    except Refused as refused:
        raise _name_members(refused, value, "answer") from None


def _descend(value: Any) -> Any:
    """Go down to the member that is the answer: by its name, or because there is no other."""
    value = parse_json(value)
    if not isinstance(value, Mapping) or says_who(value) or value.keys() & CHOICES:
        return value
    inner = first_filled(value, ANSWERS)
    if inner is None and len(value) == 1 and not value.keys() & FAILURES:
        inner = next(iter(value.values()))
    return value if inner is None else _descend(inner)


def _unwrap(value: Any) -> Any:
    """Return the arguments of a function's call: those that have names, else the only one that has none."""
    if not isinstance(value, Mapping) or not value or not value.keys() <= ARGUMENTS:
        return value
    unnamed = value.get("args")
    return value.get("kwargs") or (unnamed[0] if isinstance(unnamed, list) and len(unnamed) == 1 else value)


def _pick(value: Any, options: Options, name: str) -> Any:
    """Return the member that `--column` names, or the whole where it names none."""
    column = options.columns.get(name)
    if column is None or not isinstance(value, Mapping):
        return value
    found = value.get(column)
    return dig(value, *column.split(".")) if found is None else found


def _name_members(refused: Refused, value: Any, name: str) -> Refused:
    """Say which members there are, where one of them may be meant."""
    if refused.reason not in ("no_prompt", "no_answer", "no_messages") or not isinstance(value, Mapping):
        return refused
    filled = [str(member) for member, one in value.items() if one not in (None, "", [], {})]
    if not filled:
        return Refused(f"no_{name}", f"the {SIDES[name]} is empty")
    if says_who(value):
        return refused
    return Refused(f"no_{name}", f"which of {', '.join(filled)[:120]} is the {name}? Say --column {name}=FIELD")
