"""Open WebUI: exported chats with their ratings and edits, and exported feedback with its snapshot of the chat."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from cli.exchange.feedback import collect_said
from cli.exchange.found import (
    Found,
    ImportedAnswer,
    ImportedFeedback,
    Options,
    Preferred,
    Refused,
    Replaced,
    Scale,
    Time,
)
from cli.exchange.ports import Importer, Record, name_read
from cli.exchange.scales import derive_comment, derive_edit, derive_feedback
from cli.exchange.shapes import dig, list_objects, read_name, read_text, read_time
from cli.exchange.trees import Node, read_tree
from shared.events import AnyFeedback, Complaint

STARS = Scale(1, 10)
"""Of the detailed rating."""
WRONG = ("not_factually_correct", "inaccurate_information")
HIDDEN = tuple(f'<details type="{kind}"' for kind in ("reasoning", "code_interpreter", "tool_calls"))
"""Blocks of an answer's text that Open WebUI folds away, and does not send to a model as its words."""
HIDDEN_END = "</details>"


@dataclass(frozen=True)
class Seen:
    """An answer of a chat, its place in the tree, and the message as it was exported."""

    answer: ImportedAnswer
    node: Node
    message: Any


def read(record: Record, options: Options) -> Found:
    """Read a chat, or a feedback record. When a rating inside a chat was given is not said; a feedback record says it.
    A rated message names that record, so that both are one event.
    """
    snapshot = record.get("snapshot")
    if "data" in record and ("meta" in record or snapshot):
        return _read_feedback(record, snapshot)
    chat = record.get("chat") if isinstance(record.get("chat"), dict) else record
    if not isinstance(chat, dict) or not chat.keys() & {"history", "messages"}:
        raise Refused("no_messages", "neither a chat with messages nor feedback")
    user = read_name(record.get("user_id"))
    seen = _read_chat(chat, user, read_name(record.get("id")))
    if not seen:
        raise Refused("no_answer", "a chat without an answer")
    found = _read_traces(seen, user)
    for one in seen:
        rated = dig(one.message, "annotation") or {"rating": dig(one.message, "rating")}
        record_of_it = read_name(dig(one.message, "feedbackId"))
        key = f"feedback:{record_of_it}" if record_of_it else f"annotation:{one.answer.key}"
        _add(found, key, one.answer.key, rated, user, None)
    return found


def _read_traces(seen: list[Seen], user: str | None) -> Found:
    """Read what a chat's own shape says: that an answer was asked for again, or was edited."""
    found = Found([one.answer for one in seen])
    for one in seen:
        key = one.answer.key
        if one.node.replaced_by:
            found.feedback.append(ImportedFeedback(f"{key}:replaced", key, Replaced(one.node.replaced_by), user))
        if one.answer.text != (now := _read_shown(one.message)):
            try:
                found.feedback.append(ImportedFeedback(f"{key}:edit", key, derive_edit(now), user))
            except Refused as refused:
                found.refused.append(refused)
    return found


def _read_chat(chat: Any, user: str | None, chat_id: str | None) -> list[Seen]:
    listed = dig(chat, "history", "messages") or dig(chat, "messages") or []
    messages = listed if isinstance(listed, dict) else {str(one.get("id")): one for one in list_objects(listed)}
    nodes = [node for key, one in messages.items() if (node := _read_node(key, one, messages))]
    return [
        Seen(_read_answer(key, before, node, messages[key], user, chat_id), node, messages[key])
        for key, before, node in read_tree(nodes)
    ]


def _read_answer(key: str, before: Any, node: Node, one: Any, user: str | None, chat: str | None) -> ImportedAnswer:
    """Read an answer as the model gave it: an edited message keeps that in `originalContent`."""
    failed = dig(one, "error")
    original = _drop_hidden(read_text(dig(one, "originalContent"))) or _read_shown(one)
    error = (read_text(dig(failed, "content") or failed) or "failed") if failed else None
    return ImportedAnswer(key, before, original, user, chat, node.at, node.model, error=error)


def _read_node(key: str, one: Any, messages: dict[str, Any]) -> Node | None:
    role, text, parent = dig(one, "role"), _read_shown(one), read_name(dig(one, "parentId"))
    if not isinstance(role, str) or not text.strip() or dig(one, "done") is False:
        return Node(key, parent, None) if isinstance(one, dict) else None
    asked = dig(messages.get(parent or ""), "models")
    said, model = {"role": role, "content": text}, read_name(dig(one, "selectedModelId") or dig(one, "model"))
    beside = isinstance(asked, list) and len(asked) > 1
    return Node(key, parent, said, read_time(dig(one, "timestamp")), model, is_alone=not beside)


def _read_shown(one: Any) -> str:
    """Read a message's text; where that is empty, the texts of its `output`, as newer versions keep them."""
    if (text := read_text(dig(one, "content"))).strip():
        return _drop_hidden(text)
    said = [item for item in list_objects(dig(one, "output")) if item.get("type") == "message"]
    return "\n".join(read_text(item.get("content")) for item in said)


def _drop_hidden(text: str) -> str:
    """Drop the folded blocks. What is not closed stays."""
    kept, at = [], 0
    while (begin := text.find("<details type=", at)) >= 0:
        if not text.startswith(HIDDEN, begin):
            end = begin + 1
            kept.append(text[at:end])
        elif (closed := text.find(HIDDEN_END, begin)) >= 0:
            end = closed + len(HIDDEN_END)
            kept.append(text[at:begin])
        else:
            break
        at = end
    return "".join([*kept, text[at:]]).strip() if kept else text


def _read_feedback(record: Record, snapshot: Any) -> Found:
    """What the snapshot holds comes with it: the chat may not be in any other file."""
    key, about = read_name(record.get("id")), read_name(dig(record, "meta", "message_id"))
    if key is None or about is None:
        raise Refused("no_answer_named", "feedback without an id, or without the message that it is about")
    chat = dig(snapshot, "chat", "chat") or dig(snapshot, "chat")
    owner = read_name(dig(snapshot, "chat", "user_id"))
    seen = _read_chat(chat, owner, read_name(dig(record, "meta", "chat_id")))
    found = _read_traces(seen, owner)
    at = read_time(record.get("updated_at") or record.get("created_at"))
    user = read_name(record.get("user_id"))
    rated = {"details": record.get("details"), **record["data"]} if isinstance(record["data"], dict) else {}
    _add(found, f"feedback:{key}", about, rated, user, at)
    found.feedback.extend(_read_comparison(key, about, record, seen, user, at))
    if not found.feedback and not found.refused:
        found.refused.append(Refused("no_value", "feedback that says nothing"))
    return found


def _add(found: Found, key: str, about: str, rated: Any, user: str | None, at: Time) -> None:
    reads = (_read_thumb, _read_stars, _read_comment, _read_complaint)
    one = collect_said(key, about, [partial(read_part, rated) for read_part in reads], user, at)
    found.feedback.extend(one.feedback)
    found.refused.extend(one.refused)


def _read_thumb(rated: Any) -> AnyFeedback | None:
    rating = dig(rated, "rating")
    return derive_feedback("rating", rating, {}, Scale(-1, 1)) if rating is not None else None


def _read_stars(rated: Any) -> AnyFeedback | None:
    stars = dig(rated, "details", "rating")
    return derive_feedback("details.rating", stars, {}, STARS) if stars is not None else None


def _read_comment(rated: Any) -> AnyFeedback | None:
    """The user's own words; where there are none, the reason that was picked."""
    picked = None if _complains(rated) else dig(rated, "reason")
    return derive_comment(dig(rated, "comment")) or derive_comment(picked)


def _read_complaint(rated: Any) -> AnyFeedback | None:
    """A reason that is a complaint. Raises: Refused: it is another one, and stands beside words of the user's own."""
    reason = dig(rated, "reason")
    if _complains(rated):
        return Complaint(category="wrong")
    if reason and derive_comment(dig(rated, "comment")):
        raise Refused("not_read", f"the reason {str(reason)[:40]!r} beside a comment", "reason")
    return None


def _complains(rated: Any) -> bool:
    return dig(rated, "reason") in WRONG and str(dig(rated, "rating")) == "-1"


def _read_comparison(
    key: str, about: str, record: Record, seen: list[Seen], user: str | None, at: Time
) -> list[ImportedFeedback]:
    """Where answers of several models stood side by side, a thumb up prefers its answer to the others, and a thumb
    down the others to it, as Open WebUI's own leaderboard counts it.
    """
    rated = next((one for one in seen if one.answer.key == about), None)
    rating, rivals = str(dig(record["data"], "rating")), dig(record["data"], "sibling_model_ids")
    if (
        rated is None
        or rating not in ("1", "-1")
        or not isinstance(rivals, list)
        or not (dig(record, "meta", "arena") or not rated.node.is_alone)
    ):
        return []
    others = [
        one.answer.key
        for one in seen
        if one is not rated and one.node.parent == rated.node.parent and one.answer.model in rivals
    ]
    return [
        ImportedFeedback(f"{key}:{other}", about, Preferred(other, about if rating == "1" else other), user, at)
        for other in others
    ]


READ = ("annotation", "rating", "comment")
IMPORTER = Importer("Open WebUI: chats, feedback", read, ("data", "chats", "feedbacks"), reads=name_read(*READ))
