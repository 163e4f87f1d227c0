"""Argilla: records of version 2 (nested, or flat as on the Hub) and of version 1's feedback datasets."""

from collections.abc import Iterator, Mapping
from typing import Any

from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.questions import Reply, read_replies, read_task
from cli.exchange.shapes import calculate_key, dig, parse_json, read_name, read_time


def read(record: Record, options: Options) -> Found:
    """Read a record: its fields are a prompt and answers, its submitted responses what people said of them.

    - suggestions are a machine's and not read; drafts and discarded responses are refused
    - when a response was given is not said
    """
    fields = parse_json(record.get("fields"))
    fields = fields if isinstance(fields, Mapping) else _select_fields(record)
    key = read_name(record.get("id") or record.get("external_id")) or calculate_key(fields)
    task = read_task(key, fields, options, at=read_time(record.get("inserted_at")))
    refused: list[Refused] = []
    replies = list(_list_replies(key, record, refused))
    return Found(list(task.answers.values()), read_replies(task, replies, options, refused), refused)


def _select_fields(record: Record) -> dict[str, Any]:
    return {
        name: value for name, value in record.items() if "." not in name and "-suggestion" not in name and name != "id"
    }


def _list_replies(key: str, record: Record, refused: list[Refused]) -> Iterator[Reply]:
    responses = parse_json(record.get("responses"))
    if isinstance(responses, Mapping):
        listed = [(name, one) for name, each in responses.items() for one in each or []]
        yield from _keep_submitted(key, listed, refused)
    elif isinstance(responses, list):
        yield from _keep_submitted(key, _list_version_1(responses), refused)
    else:
        yield from _keep_submitted(key, _list_flat(record), refused)


def _list_version_1(responses: list[Any]) -> list[tuple[str, Any]]:
    """Responses of version 1: one a user, with the values of all questions."""
    return [
        (name, {"value": dig(value, "value"), "user_id": dig(one, "user_id"), "status": dig(one, "status")})
        for one in responses
        for name, value in (dig(one, "values") or {}).items()
    ]


def _list_flat(record: Record) -> list[tuple[str, Any]]:
    """Columns of the Hub: `question.responses` with `.users` and `.status`; of version 1 a list of objects."""
    listed = []
    for name, values in record.items():
        question = name.removesuffix(".responses")
        values = parse_json(values)
        if name.endswith(".responses") and isinstance(values, list):
            users, states = (record.get(f"{name}.{part}") or [] for part in ("users", "status"))
            listed += [
                (question, {"value": value, "user_id": dig(users, place), "status": dig(states, place)})
                for place, value in enumerate(values)
            ]
        elif isinstance(values, list) and values and all(isinstance(one, dict) and "status" in one for one in values):
            listed += [(name, one) for one in values]
    return listed


def _keep_submitted(key: str, listed: list[tuple[str, Any]], refused: list[Refused]) -> Iterator[Reply]:
    for question, one in listed:
        status = dig(one, "status") or "submitted"
        user = read_name(dig(one, "user_id"))
        if status != "submitted":
            refused.append(Refused("not_submitted", f"a response to {question} is {status}"))
            continue
        yield Reply(f"{key}:{question}:{user}", question, dig(one, "value"), user)


IMPORTER = Importer("Argilla: records with responses (versions 1 and 2)", read, ("data", "records", "items"))
