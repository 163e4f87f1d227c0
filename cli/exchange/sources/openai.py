"""OpenAI: stored completions, logged requests, fine-tuning and preference files, and ChatGPT's account export."""

from typing import Any

from cli.exchange.found import Found, ImportedAnswer, ImportedFeedback, Options, Preferred, Refused, Replaced
from cli.exchange.ports import Importer, Record
from cli.exchange.scales import derive_comment, derive_feedback
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    parse_json,
    read_answer,
    read_messages,
    read_name,
    read_text,
    read_time,
    read_tools,
    split_last_answer,
)
from cli.exchange.trees import Node, read_tree


def read(record: Record, options: Options) -> Found:
    """Read a record; what it is follows from its members:

    - `mapping`: a conversation of ChatGPT's export; `rating`: its feedback on a message
    - `preferred_output`: a preference file; `messages` alone: a fine-tuning file
    - `choices`: a completion with its `messages` or `input`; `request` and `response`: a log of both
    """
    if isinstance(record.get("mapping"), dict):
        return _read_chatgpt(record)
    if "rating" in record:
        return _read_rating(record, options)
    if "preferred_output" in record:
        return _read_preference(record)
    response = record.get("response") or record
    response = dig(response, "body") or response
    if isinstance(dig(response, "choices"), list):
        return _read_completion(record, response)
    messages, answer = split_last_answer(read_messages(record.get("messages")))
    return Found([build_answer(read_name(record.get("id")) or calculate_key(messages, answer), messages, answer)])


def _read_completion(record: Record, response: Any) -> Found:
    request = record.get("request") or record
    request = dig(request, "body") or request
    messages = read_messages(dig(request, "messages") or dig(response, "messages") or dig(response, "input"))
    key = read_name(response.get("id")) or calculate_key(messages, response["choices"])
    who = dig(request, "safety_identifier") or dig(request, "user") or dig(response, "user")
    answers = [
        build_answer(
            f"{key}:{place}",
            messages,
            read_answer(choice),
            user=read_name(who),
            at=read_time(response.get("created")),
            model=read_name(response.get("model")),
            finish_reason=read_name(dig(choice, "finish_reason")),
            tools=read_tools(dig(request, "tools")),
        )
        for place, choice in enumerate(response["choices"])
    ]
    return Found(answers)


def _read_preference(record: Record) -> Found:
    messages = read_messages(record.get("input"))
    sides = [read_answer(record.get(side)) for side in ("preferred_output", "non_preferred_output")]
    key = calculate_key(messages, sides)
    answers = [
        build_answer(f"{key}:{name}", messages, side) for name, side in zip(("preferred", "other"), sides, strict=True)
    ]
    said = Preferred(other=f"{key}:other", key=f"{key}:preferred")
    return Found(answers, [ImportedFeedback(key, f"{key}:preferred", said)])


def _read_chatgpt(record: Record) -> Found:
    nodes = [node for key, one in record["mapping"].items() if (node := _read_node(key, one)) is not None]
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


def _read_node(key: str, one: Any) -> Node | None:
    message = dig(one, "message")
    role = dig(message, "author", "role")
    parts = dig(message, "content", "parts")
    text = read_text(parts) or read_text(dig(message, "content", "text"))
    parent = read_name(dig(one, "parent"))
    if (
        role not in ("system", "user", "assistant")
        or not text.strip()
        or dig(message, "recipient") not in (None, "all")
    ):
        return Node(key, parent, None)
    model = read_name(dig(message, "metadata", "model_slug"))
    said = {"role": role, "content": text}
    return Node(key, parent, said, read_time(dig(message, "create_time")), model, is_alone=True)


def _read_rating(record: Record, options: Options) -> Found:
    about = read_name(record.get("message_id") or record.get("id"))
    if about is None:
        raise Refused("no_answer_named", "feedback without a message's id")
    user, at = read_name(record.get("user_id")), read_time(record.get("create_time") or record.get("update_time"))
    content = parse_json(record.get("content"))
    comment = derive_comment(dig(content, "text") or (content if isinstance(content, str) else None))
    says = [derive_feedback("rating", record["rating"], options.scales), comment]
    named = [(f"{about}:{place}", one) for place, one in enumerate(says) if one is not None]
    return Found(feedback=[ImportedFeedback(key, about, one, user, at) for key, one in named])


IMPORTER = Importer("OpenAI: completions, logs, fine-tuning files, ChatGPT's export", read, ("data",))
