"""LiteLLM: spend logs, and the logging payloads that its callbacks write to files and buckets (also of before 2025)."""

from typing import Any

from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.python_texts import parse_python
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    parse_json,
    read_answer,
    read_messages,
    read_name,
    read_text,
    read_tools,
)
from cli.exchange.shapes import read_time as time_of
from shared.events import Message

MEMBERS = ("call_type", "messages", "response", "proxy_server_request")
CHAT = ("completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses")
PYTHON = ("[{'", '[{"', "{'", "ModelResponse(", "TextCompletionResponse(")
"""Beginnings of what LiteLLM wrote to buckets before it had its standard payload: values as Python shows them."""
REDACTED, CUT = "redacted-by-litellm", "litellm_truncated "
"""What stands for a text that LiteLLM was told not to log, and in the middle of one that was too long for its table."""


def read(record: Record, options: Options) -> Found:
    """Read one call: its choices are answers. LiteLLM records no feedback, so nothing is said of them.

    The user is the end user; who owns the key that called is another. Payloads of before the standard one name the end
    user `user`.
    """
    record = record.get("standard_logging_object") or record
    if not record.keys() & MEMBERS:
        raise Refused("no_call", f"none of {', '.join(MEMBERS)} in it")
    call = str(record.get("call_type") or "acompletion").removeprefix("litellm.")
    if call not in CHAT:
        raise Refused("no_chat", f"a call of type {call}")
    messages, response = _read_request(record), _read_value(record.get("response"))
    failed = str(record.get("status") or "success") != "success"
    if failed or not response:
        raise Refused("failed_call" if failed else "no_content", _explain(record, failed))
    choices = dig(response, "choices")
    key = read_name(record.get("request_id") or record.get("id")) or calculate_key(record)
    said = _read_said(record)
    answers = [
        build_answer(
            f"{key}:{place}",
            messages,
            _check_whole(read_answer(choice)),
            finish_reason=read_name(dig(choice, "finish_reason")),
            **said,
        )
        for place, choice in enumerate(choices if isinstance(choices, list) else [response])
    ]
    return Found(answers)


def _read_said(record: Record) -> dict[str, Any]:
    """Read what is said of a call, whatever it was answered."""
    sent, metadata = (
        parse_json(record.get("proxy_server_request")),
        _read_value(record.get("metadata"), is_needed=False),
    )
    own = record.get("user") if "modelParameters" in record else None
    parameters = parse_json(record.get("model_parameters") or record.get("modelParameters"))
    return {
        "user": read_name(record.get("end_user") or dig(metadata, "user_api_key_end_user_id") or own),
        "conversation": read_name(record.get("session_id") or record.get("trace_id")),
        "at": time_of(record.get("startTime") or record.get("start_time")),
        "model": read_name(record.get("model")),
        "tools": read_tools(dig(parameters, "tools") or dig(sent, "tools")),
    }


def _read_request(record: Record) -> list[Message]:
    sent = parse_json(record.get("proxy_server_request"))
    messages = _read_value(record.get("messages")) or dig(sent, "messages") or dig(sent, "body", "messages")
    if not messages:
        raise Refused("no_content", "LiteLLM was not told to store prompts (store_prompts_in_spend_logs)")
    return [_check_whole(message) for message in read_messages(messages)]


def _read_value(value: Any, *, is_needed: bool = True) -> Any:
    """Read a value: JSON, or as Python shows it. Raises: Refused: it is needed, and begins like one and is none."""
    value = parse_json(value)
    if not isinstance(value, str) or not value.startswith(PYTHON):
        return value
    try:
        return parse_python(value)
    except ValueError as error:
        if is_needed:
            raise Refused("not_json", str(error)) from None
        return None


def _check_whole(message: Message) -> Message:
    """Return a message of which LiteLLM kept every word. Raises: Refused: it did not."""
    text = read_text(message["content"])
    if text == REDACTED:
        raise Refused("redacted", "LiteLLM was told not to log what was said (turn_off_message_logging)")
    if CUT in text:
        raise Refused("cut_text", "LiteLLM cut a long text for its table (MAX_STRING_LENGTH_PROMPT_IN_DB)")
    return message


def _explain(record: Record, failed: bool) -> str:
    return str(record.get("error_str") or "the call failed")[:200] if failed else "the response was not stored"


IMPORTER = Importer("LiteLLM: spend logs, logging payloads (no feedback)", read, ("data", "logs"))
