"""Argilla: records of version 2 (nested, or flat as on the Hub) and of version 1's feedback datasets."""

from collections.abc import Iterator, Mapping
from typing import Any

from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.questions import COLUMNS, Reply, read_replies, read_task
from cli.exchange.shapes import calculate_key, dig, list_objects, parse_json, read_name, read_time

OURS = "heliotrope"
"""The agent of the suggestions in our own exports: what our users said."""


def read(record: Record, options: Options) -> Found:
    """Read a record: its fields are a prompt and answers, its submitted responses what people said of them.

    - suggestions are a machine's and refused, but for those of our own export, where nobody has responded since
    - drafts and discarded responses are refused
    - when a response was given is not said
    """
    fields = parse_json(record.get("fields"))
    fields = fields if isinstance(fields, Mapping) else _select_fields(record)
    key = read_name(record.get("id") or record.get("external_id")) or calculate_key(fields)
    task = read_task(key, fields, options, at=read_time(record.get("inserted_at")))
    refused: list[Refused] = []
    replies = list(_list_replies(key, record, refused))
    answered = {reply.question for reply in replies}
    replies += [one for one in _list_suggested(key, record, refused) if one.question not in answered]
    return Found(list(task.answers.values()), read_replies(task, replies, options, refused), refused)


def _select_fields(record: Record) -> dict[str, Any]:
    return {
        name: value for name, value in record.items() if "." not in name and "-suggestion" not in name and name != "id"
    }


def _list_replies(key: str, record: Record, refused: list[Refused]) -> Iterator[Reply]:
    responses = parse_json(record.get("responses"))
    if isinstance(responses, Mapping):
        listed = [(name, one) for name, each in responses.items() for one in list_objects(each)]
        yield from _keep_submitted(key, listed, refused)
    elif isinstance(responses, list):
        yield from _keep_submitted(key, _list_version_1(responses), refused)
    else:
        yield from _keep_submitted(key, _list_flat(record), refused)


def _list_suggested(key: str, record: Record, refused: list[Refused]) -> Iterator[Reply]:
    """List the suggestions of our own export: nested, or in columns; others are refused."""
    nested = parse_json(record.get("suggestions"))
    columns = [name for name in record if name.endswith((".suggestion", "-suggestion"))]
    listed = dict(nested) if isinstance(nested, Mapping) else {}
    listed |= {name[: -len(".suggestion")]: _read_column(record, name) for name in columns}
    for question, one in listed.items():
        if dig(one, "agent") == OURS:
            yield Reply(f"{key}:{question}:{OURS}", question, dig(one, "value"), OURS)
        elif dig(one, "value") is not None:
            refused.append(Refused("machine_score", f"a suggestion for {question}, not by a person", question))


def _read_column(record: Record, name: str) -> dict[str, Any]:
    return {"value": parse_json(record[name]), "agent": record.get(f"{name}.agent")}


def _list_version_1(responses: list[Any]) -> list[tuple[str, Any]]:
    """Responses of version 1: one a user, with the values of all questions."""
    return [
        (name, {"value": dig(value, "value"), "user_id": dig(one, "user_id"), "status": dig(one, "status")})
        for one in responses
        if isinstance(dig(one, "values") or {}, Mapping)
        for name, value in dict(dig(one, "values") or {}).items()
    ]


def _list_flat(record: Record) -> list[tuple[str, Any]]:
    """Columns of the Hub: `question.responses` with `.users` and `.status`; of version 1 a list of objects, or in
    Parquet an object of lists.
    """
    listed: list[tuple[str, Any]] = []
    for name, values in record.items():
        question = name.removesuffix(".responses")
        values = parse_json(values)
        if name.endswith(".responses") and isinstance(values, list):
            users, states = (parse_json(record.get(f"{name}.{part}")) for part in ("users", "status"))
            listed += [
                (question, {"value": value, "user_id": dig(users, place), "status": dig(states, place)})
                for place, value in enumerate(values)
            ]
        elif (each := _list_rows(values)) and all("status" in one for one in each):
            listed += [(name, one) for one in each]
    return listed


def _list_rows(values: Any) -> list[dict[str, Any]]:
    """List the objects of a list, or of an object of lists that are as long as each other."""
    if isinstance(values, Mapping) and values and all(isinstance(one, list) for one in values.values()):
        return [dict(zip(values, row, strict=False)) for row in zip(*values.values(), strict=False)]
    return list_objects(values)


def _keep_submitted(key: str, listed: list[tuple[str, Any]], refused: list[Refused]) -> Iterator[Reply]:
    for question, one in listed:
        status = dig(one, "status") or "submitted"
        user = read_name(dig(one, "user_id"))
        if status != "submitted":
            refused.append(Refused("not_submitted", f"a response to {question} is {status}", question))
            continue
        value = dig(one, "value")
        yield Reply(f"{key}:{question}:{user}", question, _list_rows(value) if dig(value, "rank") else value, user)


def _reads(record: Record, path: str, value: Any) -> bool:
    """Whether it stands among a record's fields, responses or suggestions, nested or in columns."""
    if path.startswith(("fields.", "responses.", "responses[]", "suggestions.", "suggestions[]")):
        return True
    return ".responses" in path or "suggestion" in path or all("status" in one for one in _list_rows(value) or [{}])


IMPORTER = Importer(
    "Argilla: records with responses (versions 1 and 2)",
    read,
    ("data", "records", "items"),
    columns=COLUMNS,
    reads=_reads,
)
