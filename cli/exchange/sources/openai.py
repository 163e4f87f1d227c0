"""OpenAI: stored completions, logged requests, fine-tuning and preference files, and ChatGPT's account export."""

from typing import Any

from cli.exchange.found import Found, ImportedFeedback, Options, Preferred, Refused
from cli.exchange.ports import Api, Importer, Listing, Record, name_read
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    read_answer,
    read_messages,
    read_name,
    read_side,
    read_time,
    read_tools,
    split_last_answer,
)
from cli.exchange.sources.chatgpt import is_comparison, read_comparison, read_conversation, read_rating
from cli.exchange.sources.openai_responses import read_asked, read_offered, read_replied

MESSAGES = "/v1/chat/completions/{id}/messages"
"""Where the messages of a stored completion are listed: it does not hold them."""


def read(record: Record, options: Options) -> Found:
    """Read a record; what it is follows from its members:

    - `mapping`: a conversation of ChatGPT's export; `rating`: its feedback on a message; or a comparison of two answers
    - `preferred_output`: a preference file; `messages` alone: a fine-tuning file
    - `choices`: a completion with its `messages` or `input`; `output`: the same of the Responses API; `request` and
      `response`: a log of both
    """
    if isinstance(record.get("mapping"), dict):
        return read_conversation(record)
    if is_comparison(record):
        return read_comparison(record)
    if "rating" in record:
        return read_rating(record, options)
    if "preferred_output" in record:
        return _read_preference(record)
    response = record.get("response") or record
    response = dig(response, "body") or response
    if any(isinstance(dig(response, name), list) for name in ("choices", "output")):
        return _read_completion(record, response)
    if "messages" not in record:
        raise Refused("unknown_columns", f"neither a completion nor messages: {', '.join(record)[:120]}")
    messages, answer = split_last_answer(read_messages(record.get("messages")))
    return Found([build_answer(read_name(record.get("id")) or calculate_key(messages, answer), messages, answer)])


def _read_completion(record: Record, response: Any) -> Found:
    request = record.get("request") or record
    request = dig(request, "body") or request
    choices = response.get("choices")
    if choices is None:
        messages, choices = read_asked(request, response), [read_replied(response)]
        tools = read_offered(request)
    else:
        asked = dig(request, "messages") or dig(response, "messages") or dig(response, "input")
        if not asked:
            raise Refused(
                "no_prompt", f"a completion without messages: put what {MESSAGES} lists beside it, or say --url"
            )
        messages, tools = read_messages(asked), read_tools(dig(request, "tools"))
    if not choices:
        raise Refused("no_answer", "a completion without choices")
    key = read_name(response.get("id")) or calculate_key(messages, choices)
    who = dig(request, "safety_identifier") or dig(request, "user") or dig(response, "user")
    answers = [
        build_answer(
            f"{key}:{place}",
            messages,
            read_answer(choice),
            user=read_name(who),
            at=read_time(response.get("created") or response.get("created_at")),
            model=read_name(response.get("model")),
            finish_reason=read_name(dig(choice, "finish_reason")),
            tools=tools,
        )
        for place, choice in enumerate(choices)
    ]
    return Found(answers)


def _read_preference(record: Record) -> Found:
    messages = read_messages(record.get("input"))
    sides = [read_side(record, side) for side in ("preferred_output", "non_preferred_output")]
    key = calculate_key(messages, sides)
    answers = [
        build_answer(f"{key}:{name}", messages, side) for name, side in zip(("preferred", "other"), sides, strict=True)
    ]
    said = Preferred(other=f"{key}:other", key=f"{key}:preferred")
    return Found(answers, [ImportedFeedback(key, f"{key}:preferred", said)])


API = Api(
    "OPENAI_API_KEY",
    ((Listing("/v1/chat/completions", {"limit": "100", "order": "asc"}, None, "after", ("messages", MESSAGES)),),),
)
READ = ("rating", "preferred_output", "non_preferred_output")
IMPORTER = Importer(
    "OpenAI: completions, logs, fine-tuning files, ChatGPT's export", read, ("data",), API, reads=name_read(*READ)
)
