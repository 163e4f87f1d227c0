"""Label Studio: exported tasks (JSON, of versions before 1.0 too) and their short form (JSON_MIN, CSV)."""

from collections.abc import Iterator
from typing import Any

from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.questions import ANSWER, COLUMNS, PROMPTS, Reply, read_replies, read_task
from cli.exchange.shapes import calculate_key, dig, list_objects, read_name, read_time

TASK = ("annotations", "total_annotations", "cancelled_annotations", "comment_count", "unresolved_comment_count")
"""Members of a task that hold what annotators said, or count it."""
OWN = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
"""Members of the short form that are neither data nor labels."""


def read(record: Record, options: Options) -> Found:
    """Read a task: its data are a prompt and answers, its annotations what people said of them.

    - a rating needs `--scale NAME=LOW:HIGH`: its greatest value stands in the project, not in the export
    - predictions are a machine's and refused, and so are cancelled annotations
    - a dialogue without an answer beside it is answered by its last turn, if that is the assistant's
    """
    if isinstance(data := record.get("data"), dict):
        key = read_name(record.get("id")) or calculate_key(data)
        items = _list_items(data)
        task = read_task(key, data | items, options, list(items), at=read_time(record.get("created_at")))
        refused = list(_refuse_predictions(record))
        replies = list(_list_replies(record, refused))
    else:
        key = read_name(record.get("id")) or calculate_key(record)
        task, refused = read_task(key, record, options), []
        replies = list(_list_short(record, options))
    return Found(list(task.answers.values()), read_replies(task, replies, options, refused), refused)


def _refuse_predictions(record: Record) -> Iterator[Refused]:
    for one in list_objects(record.get("predictions")):
        if dig(one, "result"):
            model = str(dig(one, "model_version") or "a model")
            yield Refused("machine_score", f"a prediction by {model}, not by a person", "predictions")


def _list_items(data: dict[str, Any]) -> dict[str, Any]:
    """List the answers that a Ranker orders: items with an id and a body in one field."""
    listed = (one for value in data.values() for one in list_objects(value))
    return {str(one["id"]): one["body"] for one in listed if "body" in one and read_name(one.get("id"))}


def _list_replies(record: Record, refused: list[Refused]) -> Iterator[Reply]:
    annotations = list_objects(record.get("annotations") or record.get("completions"))
    for place, annotation in enumerate(annotations):
        if dig(annotation, "was_cancelled") or dig(annotation, "skipped"):
            refused.append(Refused("cancelled", "an annotation that was skipped"))
            continue
        key = read_name(dig(annotation, "id")) or f"{record.get('id')}:{place}"
        by = dig(annotation, "completed_by")
        user = read_name(dig(by, "id") or dig(by, "email") or by)
        at = read_time(dig(annotation, "updated_at") or dig(annotation, "created_at"))
        for number, one in enumerate(list_objects(annotation.get("result"))):
            name, about = str(dig(one, "from_name") or dig(one, "type")), read_name(dig(one, "to_name"))
            if dig(one, "meta", "text"):
                refused.append(Refused("not_read", "a note on a label: about which answer is not said", f"{name}.meta"))
            try:
                yield Reply(f"{key}:{number}", name, _read_value(name, one), user, at, about)
            except Refused as error:
                refused.append(error)


def _read_value(name: str, one: Any) -> Any:
    """The value of a result stands under its type's name; of a pairwise comparison, the side selected.

    Raises: Refused: it says nothing of a whole answer, such as a label on some of its words.
    """
    value = dig(one, "value")
    for member in ("selected", "rating", "choices", "text", "number", "taxonomy"):
        if dig(value, member) is not None:
            return dig(value, member)
    if isinstance(ranks := dig(value, "ranker"), dict):
        return _read_ranks(ranks)
    raise Refused("unknown_value", f"{name}, of type {dig(one, 'type')}, says nothing of a whole answer", name)


def _read_ranks(ranks: dict[str, Any]) -> list[Any]:
    """Read an order from the best on. Raises: Refused: the items were put into several groups, of no order."""
    filled = [listed for name, listed in ranks.items() if name != "_" and isinstance(listed, list) and listed]
    if len(filled) != 1:
        raise Refused("unknown_value", "items in several groups: which group is better is not said")
    return [{"value": str(name), "rank": place} for place, name in enumerate(filled[0], 1)]


def _list_short(record: Record, options: Options) -> Iterator[Reply]:
    key, user = read_name(record.get("annotation_id")) or calculate_key(record), read_name(record.get("annotator"))
    at = read_time(record.get("updated_at") or record.get("created_at"))
    data = {*OWN, *options.columns.values(), *PROMPTS}
    for name, value in record.items():
        if name not in data and not ANSWER.fullmatch(name.casefold()):
            inner = dig(value, "rating") or dig(value, "choices") or dig(value, "selected") or value
            yield Reply(f"{key}:{name}", name, inner, user, at)


def _reads(record: Record, path: str, value: Any) -> bool:
    """In the short form every member is data or a label; in a task, what annotators said."""
    if not isinstance(record.get("data"), dict):
        return True
    return path in TASK or path.startswith(("annotations[].result", "completions[].result", "predictions[]"))


IMPORTER = Importer("Label Studio: tasks with annotations", read, ("data", "tasks"), columns=COLUMNS, reads=_reads)
