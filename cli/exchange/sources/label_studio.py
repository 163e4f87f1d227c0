"""Label Studio: exported tasks (JSON, of versions before 1.0 too) and their short form (JSON_MIN, CSV)."""

from collections.abc import Iterator
from typing import Any

from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.questions import ANSWER, PROMPTS, Reply, read_replies, read_task
from cli.exchange.shapes import calculate_key, dig, read_name, read_time

OWN = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
"""Members of the short form that are neither data nor labels."""


def read(record: Record, options: Options) -> Found:
    """Read a task: its data are a prompt and answers, its annotations what people said of them.

    - a rating needs `--scale NAME=LOW:HIGH`: its greatest value stands in the project, not in the export
    - predictions are a machine's and not read; cancelled annotations are refused
    """
    if isinstance(data := record.get("data"), dict):
        key = read_name(record.get("id")) or calculate_key(data)
        task = read_task(key, data, options, at=read_time(record.get("created_at")))
        refused: list[Refused] = []
        replies = list(_list_replies(record, refused))
    else:
        key = read_name(record.get("id")) or calculate_key(record)
        task, refused = read_task(key, record, options), []
        replies = list(_list_short(record, options))
    return Found(list(task.answers.values()), read_replies(task, replies, options, refused), refused)


def _list_replies(record: Record, refused: list[Refused]) -> Iterator[Reply]:
    annotations = record.get("annotations") or record.get("completions") or []
    for place, annotation in enumerate(annotations):
        if dig(annotation, "was_cancelled") or dig(annotation, "skipped"):
            refused.append(Refused("cancelled", "an annotation that was skipped"))
            continue
        key = read_name(dig(annotation, "id")) or f"{record.get('id')}:{place}"
        by = dig(annotation, "completed_by")
        user = read_name(dig(by, "id") or dig(by, "email") or by)
        at = read_time(dig(annotation, "updated_at") or dig(annotation, "created_at"))
        for number, one in enumerate(dig(annotation, "result") or []):
            name, about = str(dig(one, "from_name")), read_name(dig(one, "to_name"))
            yield Reply(f"{key}:{number}", name, _read_value(one), user, at, about)


def _read_value(one: Any) -> Any:
    """The value of a result stands under its type's name; of a pairwise comparison, the side selected."""
    value = dig(one, "value")
    for name in ("selected", "rating", "choices", "text", "number", "taxonomy"):
        if dig(value, name) is not None:
            return dig(value, name)
    if isinstance(ranks := dig(value, "ranker"), dict):
        listed: list[Any] = next(iter(ranks.values()), [])
        return [{"value": str(name), "rank": place} for place, name in enumerate(listed, 1)]
    return None


def _list_short(record: Record, options: Options) -> Iterator[Reply]:
    key, user = read_name(record.get("annotation_id")) or calculate_key(record), read_name(record.get("annotator"))
    at = read_time(record.get("updated_at") or record.get("created_at"))
    data = {*OWN, *options.columns.values(), *PROMPTS}
    for name, value in record.items():
        if name not in data and not ANSWER.fullmatch(name.casefold()):
            inner = dig(value, "rating") or dig(value, "choices") or dig(value, "selected") or value
            yield Reply(f"{key}:{name}", name, inner, user, at)


IMPORTER = Importer("Label Studio: tasks with annotations", read, ("data", "tasks"))
