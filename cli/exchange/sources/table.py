"""A table of your own: each of our fields is a column, by its own name or by `--column FIELD=COLUMN`."""

from collections.abc import Callable
from typing import Any

from cli.exchange.found import Found, ImportedAnswer, ImportedFeedback, Options, Preferred, Refused
from cli.exchange.ports import Importer, Record, name_read
from cli.exchange.scales import COMPLAINTS, derive_comment, derive_edit, derive_feedback
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    parse_json,
    read_answer,
    read_messages,
    read_name,
    read_side,
    read_time,
)
from shared.events import AnyFeedback, Complaint, Rating

FIELDS = (
    "id", "prompt", "system", "answer", "chosen", "rejected", "thumb", "rating", "edit", "comment", "complaint",
    "user", "time", "model", "conversation",
)  # fmt: skip


def read(record: Record, options: Options) -> Found:
    """Read a row: `prompt` with `answer` and what was said of it, or with `chosen` and `rejected`.

    A whole number of 1 to 5 stars is a rating; other numbers need `--scale rating=LOW:HIGH`.
    """
    for name in ("prompt", "chosen" if options.columns.get("chosen", "chosen") in record else "answer"):
        _check_column(record, options, name)
        if record[options.columns.get(name, name)] in (None, ""):
            raise Refused("no_prompt" if name == "prompt" else "no_answer", f"{name} is empty")
    row = {name: record.get(options.columns.get(name, name)) for name in FIELDS}
    messages = read_messages(row["prompt"])
    if row["system"]:
        messages = [{"role": "system", "content": str(row["system"])}, *messages]
    said = {
        "user": read_name(row["user"]),
        "at": read_time(row["time"]),
        "model": read_name(row["model"]),
        "conversation": read_name(row["conversation"]),
    }
    key = read_name(row["id"]) or calculate_key(row)
    return _read_pair(key, row, messages, said) if row["chosen"] else _read_single(key, row, messages, said, options)


def _check_column(record: Record, options: Options, name: str) -> None:
    column = options.columns.get(name, name)
    if column not in record:
        there = ", ".join(map(str, record))
        raise Refused("no_column", f"no column {column!r}: say --column {name}=COLUMN, one of {there}")


def _read_pair(key: str, row: dict[str, Any], messages: Any, said: dict[str, Any]) -> Found:
    answers = [build_answer(f"{key}:{side}", messages, read_side(row, side), **said) for side in ("chosen", "rejected")]
    preferred = Preferred(other=answers[1].key, key=answers[0].key)
    return Found(answers, [ImportedFeedback(key, answers[0].key, preferred, said["user"], said["at"])])


def _read_single(key: str, row: dict[str, Any], messages: Any, said: dict[str, Any], options: Options) -> Found:
    answer: ImportedAnswer = build_answer(key, messages, read_answer(row["answer"]), **said)
    found = Found([answer])
    readers: dict[str, Callable[[Any], AnyFeedback | None]] = {
        "thumb": lambda value: derive_feedback("thumb", value, options.scales),
        "rating": lambda value: _read_rating(value, options),
        "edit": lambda value: derive_edit(str(value)),
        "comment": derive_comment,
        "complaint": _read_complaint,
    }
    for name, reader in readers.items():
        if row[name] in (None, ""):
            continue
        try:
            if (says := reader(parse_json(row[name]))) is not None:
                found.feedback.append(ImportedFeedback(f"{key}:{name}", key, says, said["user"], said["at"]))
        except Refused as refused:
            found.refused.append(refused)
    return found


def _read_rating(value: Any, options: Options) -> AnyFeedback:
    if "rating" not in options.scales and str(value) in ("1", "2", "3", "4", "5"):
        return Rating(value=int(value))
    return derive_feedback("rating", value, options.scales)


def _read_complaint(value: Any) -> AnyFeedback:
    word = str(value).strip().casefold()
    return Complaint(category=COMPLAINTS.get(word, "other"), text=None if word in COMPLAINTS else str(value)[:20_000])  # type: ignore[arg-type]


IMPORTER = Importer(
    "a table of your own, by --column FIELD=COLUMN", read, ("data", "rows"), columns=FIELDS, reads=name_read(*FIELDS)
)
