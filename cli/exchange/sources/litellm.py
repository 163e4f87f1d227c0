"""LiteLLM: spend logs, and the standard logging payload that its callbacks write to files and buckets."""

from typing import Any

from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    parse_json,
    read_answer,
    read_messages,
    read_name,
    read_tools,
)
from cli.exchange.shapes import read_time as time_of

CHAT = ("completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses")


def read(record: Record, options: Options) -> Found:
    """Read one call: its choices are answers. LiteLLM records no feedback, so nothing is said of them.

    The user is the end user; who owns the key that called is another.
    """
    record = record.get("standard_logging_object") or record
    call = str(record.get("call_type") or "acompletion")
    if call not in CHAT:
        raise Refused("no_chat", f"a call of type {call}")
    messages, response = _read_request(record), parse_json(record.get("response"))
    failed = str(record.get("status") or "success") != "success"
    if failed or not response:
        raise Refused("failed_call" if failed else "no_content", _explain(record, failed))
    choices, sent = dig(response, "choices"), parse_json(record.get("proxy_server_request"))
    metadata = parse_json(record.get("metadata"))
    key = read_name(record.get("request_id") or record.get("id")) or calculate_key(record)
    answers = [
        build_answer(
            f"{key}:{place}",
            messages,
            read_answer(choice),
            user=read_name(record.get("end_user") or dig(metadata, "user_api_key_end_user_id")),
            conversation=read_name(record.get("session_id") or record.get("trace_id")),
            at=time_of(record.get("startTime") or record.get("start_time")),
            model=read_name(record.get("model")),
            finish_reason=read_name(dig(choice, "finish_reason")),
            tools=read_tools(dig(parse_json(record.get("model_parameters")), "tools") or dig(sent, "tools")),
        )
        for place, choice in enumerate(choices if isinstance(choices, list) else [response])
    ]
    return Found(answers)


def _read_request(record: Record) -> Any:
    sent = parse_json(record.get("proxy_server_request"))
    messages = parse_json(record.get("messages")) or dig(sent, "messages") or dig(sent, "body", "messages")
    if not messages:
        raise Refused("no_content", "LiteLLM was not told to store prompts (store_prompts_in_spend_logs)")
    return read_messages(messages)


def _explain(record: Record, failed: bool) -> str:
    return str(record.get("error_str") or "the call failed")[:200] if failed else "the response was not stored"


IMPORTER = Importer("LiteLLM: spend logs, logging payloads (no feedback)", read, ("data", "logs"))
