"""What a model server gets of a request is its canonical form; what that form does not know stays."""

from typing import Any

import pytest

from shared.conversation import calculate_prompt_hash, canonicalize
from shared.served_messages import derive_served_messages

ASKED = {"role": "user", "content": "Where is it?"}
FUNCTION = {"name": "order_lookup", "arguments": "{}"}
CALL = {"id": "call00001", "type": "function", "function": FUNCTION}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CUSTOM = {"id": "1", "type": "custom", "custom": {"name": "run", "input": "print(1)"}}


@pytest.mark.parametrize(
    ("said", "served"),
    [
        ({"role": "assistant", "content": None, "refusal": "No. "}, {"role": "assistant", "content": "No."}),
        (
            {"role": "assistant", "content": None, "function_call": FUNCTION},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
        ),
        ({"role": "function", "name": "f", "content": "7"}, {"role": "tool", "name": "f", "content": "7"}),
        (
            {"role": "assistant", "content": "Yes.", "reasoning_content": " Hm. "},
            {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."},
        ),
        (
            {"role": "assistant", "content": "Yes.", "reasoning": " Hm. "},
            {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm.", "reasoning": "Hm."},
        ),
        (
            {"role": "user", "content": [PICTURE, {"type": "text", "text": "And? "}]},
            {"role": "user", "content": [PICTURE, {"type": "text", "text": "And?"}]},
        ),
        ({"role": "user", "content": [{"type": "input_text", "text": " Q"}]}, {"role": "user", "content": "Q"}),
        (
            {"role": "assistant", "content": "Sure", "prefix": True},
            {"role": "assistant", "content": "Sure", "prefix": True},
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [CUSTOM]},
            {"role": "assistant", "content": None, "tool_calls": [CUSTOM]},
        ),
    ],
)
def test_a_message_is_served_in_its_canonical_form(said: dict[str, Any], served: dict[str, Any]):
    assert derive_served_messages([said]) == [served]
    assert canonicalize([served]) == canonicalize([said])
    assert calculate_prompt_hash([ASKED, served]) == calculate_prompt_hash([ASKED, said])
