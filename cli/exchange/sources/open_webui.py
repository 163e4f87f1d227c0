"""Open WebUI: exported chats with their ratings, and exported feedback with its snapshot of the chat."""

from typing import Any

from cli.exchange.found import Found, ImportedAnswer, ImportedFeedback, Options, Preferred, Refused, Replaced, Scale
from cli.exchange.ports import Importer, Record
from cli.exchange.scales import derive_comment, derive_feedback
from cli.exchange.shapes import dig, read_name, read_text, read_time
from cli.exchange.trees import Node, read_tree
from shared.events import AnyFeedback, Complaint

STARS = Scale(1, 10)
"""Of the detailed rating."""
WRONG = ("not_factually_correct", "inaccurate_information")


def read(record: Record, options: Options) -> Found:
    """Read a chat, or a feedback record. When a rating inside a chat was given is not said; a feedback record says
    it.
    """
    snapshot = record.get("snapshot")
    if "data" in record and ("meta" in record or snapshot):
        return _read_feedback(record, snapshot)
    chat = record.get("chat") if isinstance(record.get("chat"), dict) else record
    user = read_name(record.get("user_id"))
    answers = _read_chat(chat, user, read_name(record.get("id")))
    if not answers:
        raise Refused("no_answer", "a chat without an answer")
    found = Found([answer for answer, _, _ in answers])
    for answer, node, message in answers:
        if node.replaced_by:
            found.feedback.append(
                ImportedFeedback(f"{answer.key}:replaced", answer.key, Replaced(node.replaced_by), user)
            )
        if isinstance(annotation := message.get("annotation"), dict):
            _add(found, f"annotation:{answer.key}", answer.key, annotation, user, None)
    return found


def _read_chat(chat: Any, user: str | None, chat_id: str | None) -> list[tuple[ImportedAnswer, Node, Any]]:
    """Read each answer of a chat: (answer, node, message)."""
    listed = dig(chat, "history", "messages") or dig(chat, "messages") or []
    messages = dict(listed) if isinstance(listed, dict) else {str(dig(one, "id")): one for one in listed}
    nodes = [node for key, one in messages.items() if (node := _read_node(key, one, messages))]
    return [
        (
            ImportedAnswer(key, before, read_text(node.message["content"]), user, chat_id, node.at, node.model),
            node,
            messages[key],
        )
        for key, before, node in read_tree(nodes)
        if node.message
    ]


def _read_node(key: str, one: Any, messages: dict[str, Any]) -> Node | None:
    role, text, parent = dig(one, "role"), read_text(dig(one, "content")), read_name(dig(one, "parentId"))
    if not isinstance(role, str) or not text.strip() or dig(one, "done") is False:
        return Node(key, parent, None) if isinstance(one, dict) else None
    asked = dig(messages.get(parent or ""), "models")
    said, model = {"role": role, "content": text}, read_name(dig(one, "model"))
    return Node(key, parent, said, read_time(dig(one, "timestamp")), model, not asked or len(asked) == 1)


def _read_feedback(record: Record, snapshot: Any) -> Found:
    """What the snapshot holds comes with it: the chat may not be in any other file."""
    key, about = read_name(record.get("id")), read_name(dig(record, "meta", "message_id"))
    if key is None or about is None:
        raise Refused("no_answer_named", "feedback without an id, or without the message that it is about")
    chat = dig(snapshot, "chat", "chat") or dig(snapshot, "chat")
    owner = read_name(dig(snapshot, "chat", "user_id"))
    seen = _read_chat(chat, owner, read_name(dig(record, "meta", "chat_id")))
    found = Found([answer for answer, _, _ in seen])
    at = read_time(record.get("updated_at") or record.get("created_at"))
    user = read_name(record.get("user_id"))
    _add(found, f"feedback:{key}", about, record["data"], user, at)
    if dig(record, "meta", "arena") is True:
        found.feedback.extend(_read_arena(key, about, record["data"], seen, user, at))
    return found


def _add(found: Found, key: str, about: str, rated: Any, user: str | None, at: Any) -> None:
    try:
        says = _read_rated(rated)
    except Refused as refused:
        found.refused.append(refused)
        return
    named = [(f"{key}:{place}", one) for place, one in enumerate(says) if one is not None]
    found.feedback.extend(ImportedFeedback(name, about, one, user, at) for name, one in named)


def _read_rated(rated: Any) -> list[AnyFeedback | None]:
    rating, stars = dig(rated, "rating"), dig(rated, "details", "rating")
    thumb = derive_feedback("rating", rating, {}, Scale(-1, 1)) if rating is not None else None
    detailed = derive_feedback("details.rating", stars, {}, STARS) if stars is not None else None
    wrong = dig(rated, "reason") in WRONG and str(rating) == "-1"
    complaint = Complaint(category="wrong") if wrong else None
    return [thumb, detailed, derive_comment(dig(rated, "comment")), complaint]


def _read_arena(key: str, about: str, data: Any, seen: list[Any], user: str | None, at: Any) -> list[ImportedFeedback]:
    """In the arena, answers of several models stood side by side: a thumb up prefers its answer to the others."""
    if str(dig(data, "rating")) != "1":
        return []
    parents = {answer.key: node.parent for answer, node, _ in seen}
    rivals = dig(data, "sibling_model_ids") or []
    return [
        ImportedFeedback(f"{key}:{answer.key}", about, Preferred(answer.key, about), user, at)
        for answer, node, _ in seen
        if answer.key != about and node.parent == parents.get(about) and answer.model in rivals
    ]


IMPORTER = Importer("Open WebUI: chats, feedback", read, ("data", "chats", "feedbacks"))
