"""Conversations as they are served and as they are frozen, for tests of what a chat template makes of both."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet

from services.curator.datasets.adapters import SCHEMAS
from shared.conversation import Conversation
from shared.served_messages import derive_served_messages

TEMPLATES = Path(__file__).parents[2] / "shared" / "chat_templates"
TOOL = {
    "type": "function",
    "function": {
        "name": "order_lookup",
        "description": "The state of an order",
        "parameters": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
    },
}
CALL = {"id": "call00001", "type": "function", "function": {"name": "order_lookup", "arguments": '{"order": "A-17"}'}}
RESULT = {"role": "tool", "tool_call_id": "call00001", "content": '{"state": "shipped"}'}
ASKED = {"role": "user", "content": "Where is my order A-17?"}
CALLED: list[dict[str, Any]] = [ASKED, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT]
ANSWER = [{"role": "assistant", "content": "It was shipped on Monday."}]
THANKS = {"role": "user", "content": "Thanks!"}


def serve(request: list[dict[str, Any]], tools: list[dict[str, Any]], tokenizer: Any) -> str:
    """What the model reads: the gateway's text, the server's joining of parts and parsing of arguments."""
    turns = []
    for turn in derive_served_messages(request):
        if isinstance(turn.get("content"), list):
            turn["content"] = "\n".join(part["text"] for part in turn["content"])
        turn["content"] = turn.get("content") or ""
        if turn.get("tool_calls"):
            turn["tool_calls"] = [
                {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
                for call in turn["tool_calls"]
            ]
        turns.append(turn)
    return str(tokenizer.apply_chat_template(turns, tools=tools or None, add_generation_prompt=True, tokenize=False))


def freeze(path: Path, *conversations: Conversation) -> Path:
    rows = [
        {
            "prompt": seen.messages,
            "chosen": ANSWER,
            "rejected": [{"role": "assistant", "content": "No idea."}],
            "epsilon": 0.1,
            "pair_id": str(number),
            "tools": json.dumps(seen.tools) if seen.tools else None,
        }
        for number, seen in enumerate(conversations)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=SCHEMAS["train"]), path)
    return path
