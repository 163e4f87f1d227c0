"""What model servers send in their dialects of OpenAI's protocol, and what is to be recorded of it.

The streams are cut down from reports in the public trackers of vLLM, SGLang, Ollama, llama.cpp, LocalAI, LiteLLM,
Azure, OpenRouter, Mistral and DeepSeek.
"""

from typing import Any

DONE = "[DONE]"
STOP: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
CALLED: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
FIND = {"type": "function", "function": {"name": "find_order", "arguments": '{"id": 7}'}}
TRACK = {"type": "function", "function": {"name": "track", "arguments": '{"parcel": "p"}'}}


def say(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(*pieces: dict[str, Any]) -> dict[str, Any]:
    return say(tool_calls=list(pieces))


def piece(name: str | None = None, arguments: Any = "", **more: Any) -> dict[str, Any]:
    return more | {"function": ({} if name is None else {"name": name}) | {"arguments": arguments}}


STREAMS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "OpenAI: id and name first, then arguments": (
        [
            call(piece("find_order", index=0, id="c1", type="function")),
            call(piece(None, '{"id"', index=0)),
            call(piece(None, ": 7}", index=0)),
            CALLED,
            DONE,
        ],
        {"tool_calls": [{"id": "c1"} | FIND], "finish_reason": "tool_calls"},
    ),
    "SGLang: id and name in every delta": (
        [
            call(piece("find_order", '{"id"', index=0, id="c1")),
            call(piece("find_order", ": 7", index=0, id="c1")),
            call(piece("find_order", "}", index=0, id="c1")),
            CALLED,
            DONE,
        ],
        {"tool_calls": [{"id": "c1"} | FIND]},
    ),
    "a name in every delta, no id": (
        [call(piece("find_order", '{"id"', index=0)), call(piece("find_order", ": 7}", index=0)), CALLED, DONE],
        {"tool_calls": [FIND]},
    ),
    "a name in pieces": (
        [call(piece("find", "", index=0, id="c1")), call(piece("_order", '{"id": 7}', index=0)), CALLED, DONE],
        {"tool_calls": [{"id": "c1"} | FIND]},
    ),
    "Ollama: whole calls without an index": (
        [
            call(piece("find_order", '{"id": 7}', id="c1")),
            call(piece("track", '{"parcel": "p"}', id="c2")),
            CALLED,
            DONE,
        ],
        {"tool_calls": [{"id": "c1"} | FIND, {"id": "c2"} | TRACK]},
    ),
    "Gemini's proxies: pieces without an index": (
        [call(piece("find_order", '{"id"', id="c1")), call(piece(None, ": 7}")), CALLED, DONE],
        {"tool_calls": [{"id": "c1"} | FIND]},
    ),
    "neither index nor id, two calls": (
        [
            call(piece("find_order", '{"id": 7}'), piece("find_order", '{"id": 7}')),
            call(piece("track", '{"parcel": "p"}')),
            CALLED,
            DONE,
        ],
        {"tool_calls": [FIND, FIND, TRACK]},
    ),
    "old vLLM: every call under the index 0": (
        [
            call(piece("find_order", "", index=0, id="c1")),
            call(piece(None, '{"id": 7}', index=0, id="")),
            call(piece("track", "", index=0, id="c2")),
            call(piece(None, '{"parcel": "p"}', index=0, id="")),
            CALLED,
            DONE,
        ],
        {"tool_calls": [{"id": "c1"} | FIND, {"id": "c2"} | TRACK]},
    ),
    "LocalAI: one call under two indexes": (
        [
            call(piece("find_order", "", index=0, id="c1")),
            call(piece(None, '{"id": 7}', index=1, id="c1")),
            CALLED,
            DONE,
        ],
        {"tool_calls": [{"id": "c1"} | FIND]},
    ),
    "LiteLLM: the first call has the index 1": (
        [call(piece("find_order", "", index=1, id="c1")), call(piece(None, '{"id": 7}', index=1)), CALLED, DONE],
        {"tool_calls": [{"id": "c1"} | FIND]},
    ),
    "vLLM, a call asked for by name: a new id and the name in every delta": (
        [
            call(piece("find_order", '{"id"', index=0, id="c1")),
            call(piece("find_order", ": 7", index=0, id="c2")),
            call(piece("find_order", "}", index=0, id="c3")),
            STOP,
            DONE,
        ],
        {"tool_calls": [{"id": "c1"} | FIND]},
    ),
    "LiteLLM: the whole arguments once more": (
        [
            call(piece("find_order", '{"id"', index=0, id="c1")),
            call(piece(None, ": 7}", index=0)),
            call(piece("find_order", '{"id": 7}', index=0, id="c1")),
            CALLED,
            DONE,
        ],
        {"tool_calls": [{"id": "c1"} | FIND]},
    ),
    "an empty object first": (
        [
            call(piece("find_order", "{}", index=0, id="c1")),
            call(piece(None, '{"id"', index=0)),
            call(piece(None, ": 7}", index=0)),
            CALLED,
            DONE,
        ],
        {"tool_calls": [{"id": "c1"} | FIND]},
    ),
    "index 0 and no id, two calls": (
        [
            call(piece("find_order", '{"id": 7}', index=0)),
            call(piece("track", '{"parcel": "p"}', index=0)),
            CALLED,
            DONE,
        ],
        {"tool_calls": [FIND, TRACK]},
    ),
    "index 0 and no id, one function twice": (
        [
            call(piece("find_order", '{"id": 7}', index=0)),
            call(piece("find_order", '{"id":8}', index=0)),
            CALLED,
            DONE,
        ],
        {"tool_calls": [FIND, {"type": "function", "function": {"name": "find_order", "arguments": '{"id":8}'}}]},
    ),
    "an index in quotes": (
        [
            call(piece("find_order", '{"id"', index="0", id="c1"), piece("track", "", index="1", id="c2")),
            call(piece(None, '{"parcel": "p"}', index="1"), piece(None, ": 7}", index="0")),
            CALLED,
            DONE,
        ],
        {"tool_calls": [{"id": "c1"} | FIND, {"id": "c2"} | TRACK]},
    ),
    "arguments as an object": (
        [call(piece("find_order", {"id": 7}, index=0, id="c1")), CALLED, DONE],
        {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find_order", "arguments": '{"id":7}'}}]},
    ),
    "the retired function_call": (
        [
            say(function_call={"name": "find_order", "arguments": ""}),
            say(function_call={"arguments": '{"id": 7}'}),
            CALLED,
            DONE,
        ],
        {"tool_calls": [FIND]},
    ),
    "DeepSeek: reasoning_content": (
        [say(reasoning_content="An order. "), say(reasoning_content="Ask."), say(content="Which one?"), STOP, DONE],
        {"answer": "Which one?", "reasoning": "An order. Ask."},
    ),
    "OpenRouter: comments, reasoning, usage": (
        [
            say(reasoning="Ask.", content=""),
            say(content="Which one?"),
            STOP,
            {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 3}},
            DONE,
        ],
        {"answer": "Which one?", "reasoning": "Ask.", "prompt_tokens": 4, "completion_tokens": 3},
    ),
    "OpenRouter: reasoning_details alone": (
        [
            say(reasoning_details=[{"type": "reasoning.text", "text": "An order. ", "index": 0}], content=""),
            say(reasoning_details=[{"type": "reasoning.summary", "summary": "Ask.", "index": 1}]),
            say(reasoning_details=[{"type": "reasoning.encrypted", "data": "AbC=", "index": 2}]),
            say(content="Which one?"),
            STOP,
            DONE,
        ],
        {"answer": "Which one?", "reasoning": "An order. Ask."},
    ),
    "OpenRouter: reasoning and its details": (
        [
            say(reasoning="Ask.", reasoning_details=[{"type": "reasoning.text", "text": "Ask."}]),
            say(content="Which one?"),
            STOP,
            DONE,
        ],
        {"answer": "Which one?", "reasoning": "Ask."},
    ),
    "Mistral: content in parts": (
        [
            say(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Ask."}]}]),
            say(content=[{"type": "text", "text": "Which one?"}]),
            STOP,
            DONE,
        ],
        {"answer": "Which one?", "reasoning": "Ask."},
    ),
    "OpenAI: a refusal": (
        [
            say(role="assistant", content="", refusal=None),
            say(refusal="I can't "),
            say(refusal="help with that."),
            STOP,
            DONE,
        ],
        {"answer": "", "refusal": "I can't help with that.", "error": None},
    ),
    "Azure: no choices first, a choice without delta last": (
        [
            {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
            say(content="Which one?"),
            STOP,
            {"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {"check_offset": 44}}]},
            DONE,
        ],
        {"answer": "Which one?", "finish_reason": "stop", "error": None},
    ),
    "Azure: filtered in the middle": (
        [say(content="Which "), say("content_filter"), DONE],
        {"answer": "Which ", "finish_reason": "content_filter", "error": None},
    ),
    "an error that is null": (
        [say(content="Which one?") | {"error": None}, STOP | {"error": None}, DONE],
        {"answer": "Which one?", "error": None},
    ),
    "transformers serve: no [DONE]": ([say(content="Which one?"), STOP], {"answer": "Which one?", "error": None}),
    "an empty data line": ([say(content="Which one?"), "", STOP, DONE], {"answer": "Which one?", "error": None}),
    "an emoji in two halves": (
        [
            '{"choices": [{"index": 0, "delta": {"content": "Hi \\ud83d"}}]}',
            '{"choices": [{"index": 0, "delta": {"content": "\\ude00!"}}]}',
            STOP,
            DONE,
        ],
        {"answer": "Hi \N{GRINNING FACE}!", "error": None},
    ),
    "half an emoji": (
        ['{"choices": [{"index": 0, "delta": {"content": "Hi \\ud83d"}}]}', say(content="!"), STOP, DONE],
        {"answer": "Hi \ufffd!", "error": None},
    ),
    "half an emoji last": (
        ['{"choices": [{"index": 0, "delta": {"content": "Hi \\ud83d"}}]}', STOP, DONE],
        {"answer": "Hi \ufffd", "error": None},
    ),
    "half an emoji with the finish reason": (
        ['{"choices": [{"index": 0, "delta": {"content": "Hi \\ud83d"}, "finish_reason": "stop"}]}', DONE],
        {"answer": "Hi \ufffd", "error": None},
    ),
    "Mistral: an emoji in two halves": (
        [
            '{"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "Hi \\ud83d"}]}}]}',
            say(reasoning="Friendly."),
            '{"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "\\ude00"}]}}]}',
            STOP,
            DONE,
        ],
        {"answer": "Hi \N{GRINNING FACE}", "reasoning": "Friendly.", "error": None},
    ),
    "a message in place of a delta": (
        [{"choices": [{"index": 0, "message": {"content": "Which one?"}, "finish_reason": "stop"}]}, DONE],
        {"answer": "Which one?", "error": None},
    ),
    "a blank behind [DONE]": ([say(content="Which one?"), STOP, f"{DONE} "], {"answer": "Which one?", "error": None}),
    "no finish reason": ([say(content="Which "), DONE], {"answer": "Which ", "error": "no_finish_reason"}),
    "closed in the middle": ([say(content="Which ")], {"answer": "Which ", "error": "no_finish_reason"}),
    "OpenAI, vLLM: an error in the middle": (
        [say(content="Which "), {"error": {"message": "out of memory", "code": 500}}, DONE],
        {"answer": "Which ", "error": "error_in_answer"},
    ),
    "vLLM: an error as an object": (
        [say(content="Which "), {"object": "error", "message": "out of memory", "code": 500}, DONE],
        {"answer": "Which ", "error": "error_in_answer"},
    ),
    "OpenRouter: an error in the choice": (
        [
            say(content="Which "),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 502}}]},
        ],
        {"answer": "Which ", "error": "error_in_answer"},
    ),
    "DeepSeek: no room": (
        [say(content="Which "), say("insufficient_system_resource"), DONE],
        {"answer": "Which ", "error": "error_in_answer"},
    ),
    "GLM: its network": (
        [say(content="Which "), say("network_error"), DONE],
        {"answer": "Which ", "error": "error_in_answer"},
    ),
    "a finish reason null in quotes, then closed": (
        [say("null", content="Which ")],
        {"answer": "Which ", "error": "no_finish_reason"},
    ),
    "a finish reason null in quotes, then one": (
        [say("null", content="Which one?"), STOP, DONE],
        {"answer": "Which one?", "finish_reason": "stop", "error": None},
    ),
    "Mistral: cut off": (
        [say("model_length", content="Which "), DONE],
        {"answer": "Which ", "finish_reason": "model_length", "error": None},
    ),
    "vLLM: aborted": ([say(content="Which "), say("abort"), DONE], {"answer": "Which ", "error": "error_in_answer"}),
}


def choose(message: Any, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish} | more]}


COMPLETIONS: dict[str, tuple[Any, int, dict[str, Any]]] = {
    "an answer": (choose({"content": "Which one?"}), 200, {"answer": "Which one?", "error": None}),
    "tool calls": (
        choose({"content": None, "tool_calls": [{"id": "c1"} | FIND]}, "tool_calls"),
        200,
        {"answer": "", "tool_calls": [{"id": "c1"} | FIND], "finish_reason": "tool_calls"},
    ),
    "a refusal": (choose({"content": None, "refusal": "I can't."}), 200, {"answer": "", "refusal": "I can't."}),
    "reasoning": (
        choose({"content": "Which one?", "reasoning_content": "Ask.", "reasoning": "Ask."}),
        200,
        {"answer": "Which one?", "reasoning": "Ask."},
    ),
    "an error that is null": (choose({"content": "Hi"}) | {"error": None}, 200, {"answer": "Hi", "error": None}),
    "half an emoji": (
        '{"choices": [{"message": {"content": "\\ud83d"}, "finish_reason": "stop"}]}',
        200,
        {"answer": "\ufffd"},
    ),
    "an error under 200": ({"error": {"message": "no provider", "code": 503}}, 503, {"error": "error_in_answer"}),
    "an error in the choice": (choose({"content": ""}, "error"), 502, {"error": "error_in_answer"}),
    "vLLM's error": ({"object": "error", "message": "too long", "code": 400}, 400, {"error": "error_in_answer"}),
    "no choices": ({"choices": []}, 502, {"error": "no_choices"}),
    "choices that are none": ({"choices": [7]}, 502, {"error": "no_choices"}),
    "no finish reason": (choose({"content": "Which"}, None), 502, {"error": "no_finish_reason"}),
    "a finish reason null in quotes": (choose({"content": "Which"}, "null"), 502, {"error": "no_finish_reason"}),
    "DeepSeek: no room": (
        choose({"content": "Which"}, "insufficient_system_resource"),
        502,
        {"error": "error_in_answer"},
    ),
    "no JSON": ("<html>gateway time-out</html>", 502, {"error": "malformed"}),
    "no object": ("[1]", 502, {"error": "malformed"}),
}
