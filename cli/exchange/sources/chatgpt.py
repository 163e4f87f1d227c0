"""ChatGPT's account export: conversations, feedback on messages, and comparisons of two answers."""

from collections.abc import Sequence
from typing import Any

from cli.exchange.feedback import collect_said
from cli.exchange.found import Found, ImportedAnswer, ImportedFeedback, Options, Preferred, Refused, Replaced
from cli.exchange.ports import Record
from cli.exchange.scales import COMPLAINTS, derive_comment, derive_feedback
from cli.exchange.shapes import dig, list_objects, parse_json, read_name, read_text, read_time
from cli.exchange.trees import Node, read_tree
from shared.events import Complaint, Message

TAGS = COMPLAINTS | {"not factually correct": "wrong", "false": "wrong", "unsafe or problematic": "harmful"}
"""What a thumb down can be given with, and is a complaint."""
SIDES = ("original", "new")


def read_conversation(record: Record) -> Found:
    """Read a conversation: a tree of messages, in which a second answer to a question replaces the first."""
    nodes = [_read_node(key, one) for key, one in record["mapping"].items()]
    answers, replaced = [], []
    conversation = read_name(record.get("conversation_id") or record.get("id"))
    for key, messages, node in read_tree(nodes):
        text = read_text(node.message["content"]) if node.message else ""
        answers.append(ImportedAnswer(key, messages, text, conversation=conversation, at=node.at, model=node.model))
        if node.replaced_by:
            replaced.append(ImportedFeedback(f"{key}:replaced", key, Replaced(node.replaced_by)))
    if not answers:
        raise Refused("no_answer", "a conversation without an answer")
    return Found(answers, replaced)


def _read_node(key: str, one: Any) -> Node:
    message, parent = dig(one, "message"), read_name(dig(one, "parent"))
    said = _read_said(message)
    model = read_name(dig(message, "metadata", "model_slug"))
    return Node(key, parent, said, read_time(dig(message, "create_time")) if said else None, model, is_alone=True)


def _read_said(message: Any) -> Message | None:
    """Read what people see of a message; None of calls of tools, of their results, and of what is empty."""
    role = dig(message, "author", "role")
    text = read_text(dig(message, "content", "parts")) or read_text(dig(message, "content", "text"))
    if role not in ("system", "user", "assistant") or not text.strip():
        return None
    return {"role": role, "content": text} if dig(message, "recipient") in (None, "all") else None


def read_rating(record: Record, options: Options) -> Found:
    """Read a thumb on a message, with its text and its tags."""
    about = read_name(record.get("message_id") or record.get("id"))
    if about is None:
        raise Refused("no_answer_named", "feedback without a message's id")
    user, at = read_name(record.get("user_id")), read_time(record.get("create_time") or record.get("update_time"))
    content = parse_json(record.get("content"))
    tags = [str(tag) for tag in dig(content, "tags") or []]
    text = dig(content, "text") or (content if isinstance(content, str) else None) or ", ".join(tags)
    category = next((TAGS[tag.casefold()] for tag in tags if tag.casefold() in TAGS), None)
    reads = [
        lambda: derive_feedback("rating", record["rating"], options.scales),
        lambda: derive_comment(text),
        lambda: Complaint(category=category) if category else None,  # type: ignore[arg-type]
    ]
    found = collect_said(about, about, reads, user, at)
    if unread := [tag for tag in tags if tag not in text and TAGS.get(tag.casefold()) is None]:
        found.refused.append(Refused("not_read", f"picked beside words of the user's own: {', '.join(unread)}", "tags"))
    return found


def is_comparison(record: Record) -> bool:
    return "new_message_id" in record or _find_turns(record) is not None


def read_comparison(record: Record) -> Found:
    """Read a choice between two answers to one question.

    - exports of 2023 and of 2024 hold both answers; what a tool did on the way to one is left out
    - later ones name two messages, of which `conversations.json` may hold only the one that was kept
    """
    turns = _find_turns(record)
    key = f"comparison:{read_name(record.get('id') or record.get('message_id'))}"
    user, at = read_name(record.get("user_id")), read_time(record.get("create_time"))
    if turns is None:
        answers: list[ImportedAnswer] = []
        keys = [read_name(record.get(f"{side}_message_id")) or "" for side in SIDES]
        said = _read_choice(record.get("rating"), record.get("placement"), keys)
    else:
        answers = _read_sides(key, record, turns, user)
        keys = [answer.key for answer in answers]
        said = _read_choice(turns.get("completion_comparison_rating"), turns.get("new_completion_placement"), keys)
    if not all(keys):
        raise Refused("no_answer_named", "a comparison that does not name both messages")
    return Found(answers, [ImportedFeedback(key, keys[0], said, user, at)])


def _read_sides(key: str, record: Record, turns: Any, user: str | None) -> list[ImportedAnswer]:
    content = parse_json(record.get("content")) or record
    prompt = list_objects(dig(content, "input", "prompt_convo", "messages"))
    messages = [said for one in prompt if (said := _read_said(one))]
    conversation = read_name(dig(content, "input", "conversation_id") or record.get("conversation_id"))
    return [
        _read_turn(f"{key}:{side}", list_objects(turns.get(f"{side}_turn")), messages, user, conversation)
        for side in SIDES
    ]


def _find_turns(record: Record) -> Any:
    content = parse_json(record.get("content"))
    turns = dig(content, "output", "feedback_step_2") or dig(record.get("output"), "feedback_step_2")
    return turns if isinstance(turns, dict) else None


def _read_choice(rating: Any, placement: Any, keys: Sequence[str]) -> Preferred:
    """Read which of (original, new) was preferred; the new one stood where `placement` says, if beside the other."""
    original, new = keys
    first = {"left": new, "right": original}.get(str(placement))
    if rating == "same":
        return Preferred(new, None, first)
    if rating not in SIDES:
        raise Refused("no_choice", f"the user said {str(rating)[:40]!r}, which prefers neither")
    return Preferred(new, keys[SIDES.index(rating)], first)


def _read_turn(
    key: str, turn: list[Any], messages: list[Message], user: str | None, conversation: str | None
) -> ImportedAnswer:
    seen = [(one, said) for one in turn if (said := _read_said(one)) and said["role"] == "assistant"]
    if not messages or not seen:
        raise Refused("no_answer", "one side of a comparison is no text, but a tool's call")
    message, said = seen[-1]
    if dig(message, "status") == "in_progress":
        raise Refused("unfinished", "one side of a comparison was not finished")
    model = read_name(dig(message, "metadata", "model_slug"))
    return ImportedAnswer(
        key, messages, said["content"], user, conversation, read_time(dig(message, "create_time")), model
    )
