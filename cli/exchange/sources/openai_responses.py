"""OpenAI's Responses API: its items as the messages of a conversation."""

from typing import Any

from cli.exchange.found import Refused
from cli.exchange.shapes import dig, list_objects, read_text
from shared.events import Message


def read_asked(request: Any, response: Any) -> list[Message]:
    """Read what a model was asked: its instructions and its input.

    Raises: Refused: the input is not there, or goes on from a response that is elsewhere.
    """
    if earlier := dig(request, "previous_response_id") or dig(response, "previous_response_id"):
        raise Refused("no_prompt", f"it goes on from response {str(earlier)[:40]}, whose messages are not in it")
    asked = dig(request, "input")
    instructions = dig(request, "instructions") or dig(response, "instructions")
    items = [{"role": "user", "content": asked}] if isinstance(asked, str) else list_objects(asked)
    messages = [message for item in items if (message := _read_item(item))]
    if not messages:
        raise Refused("no_prompt", "a response without its input: log the request beside it")
    system = [{"role": "system", "content": instructions}] if isinstance(instructions, str) and instructions else []
    return [*system, *messages]


def read_replied(response: Any) -> Any:
    """Read the answer, in the shape of a choice: the texts of a response's messages, and the tools it calls."""
    said = [message for item in response["output"] if (message := _read_item(item))]
    calls = [call for message in said for call in message.get("tool_calls", [])]
    text = "\n".join(text for message in said if (text := read_text(message["content"])))
    cut = dig(response, "incomplete_details", "reason") == "max_output_tokens"
    answer: Message = {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})
    return {"message": answer, "finish_reason": "length" if cut else None}


def read_offered(request: Any) -> list[Any] | None:
    """Read the functions that a model was offered, in the shape of chat completions; None if it was offered none."""
    tools = [one for one in list_objects(dig(request, "tools")) if one.get("type") == "function"]
    named = ("name", "description", "parameters")
    flat = [{name: tool[name] for name in named if tool.get(name) is not None} for tool in tools]
    return [{"type": "function", "function": one} for one in flat] or None


def _read_item(item: Any) -> Message | None:
    """Read one item; None of what a model thought, and of what is run on OpenAI's side."""
    kind = dig(item, "type") or "message"
    if kind == "message":
        return {"role": str(dig(item, "role") or "assistant"), "content": dig(item, "content")}
    if kind == "function_call":
        function = {name: dig(item, name) for name in ("name", "arguments")}
        call = {"id": dig(item, "call_id"), "type": "function", "function": function}
        return {"role": "assistant", "content": "", "tool_calls": [call]}
    if kind == "function_call_output":
        output = dig(item, "output")
        return {"role": "tool", "tool_call_id": dig(item, "call_id"), "content": read_text(output) or str(output)}
    return None
