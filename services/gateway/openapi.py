"""What the OpenAPI document says of the routes, whose bodies are OpenAI's."""

from typing import Any

_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type"],
        }
    },
    "required": ["error"],
}
_REQUEST: dict[str, Any] = {
    "type": "object",
    "description": "OpenAI's chat completion request; fields that are not named here go to the model server untouched.",
    "properties": {
        "model": {"type": "string", "description": "the model family; with an ops key a version"},
        "messages": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"]}},
        "stream": {"type": ["boolean", "null"], "default": False},
        "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 16, "default": 1},
        "user": {"type": ["string", "null"], "description": "keeps a user on one version; stored as a keyed hash only"},
        "metadata": {
            "type": ["object", "null"],
            "properties": {"conversation_id": {"type": "string", "description": "stands in for a user"}},
        },
    },
    "required": ["model", "messages"],
}
_EXAMPLE = {
    "model": "heliotrope",
    "user": "ada",
    "messages": [{"role": "user", "content": "The lamp I bought last week flickers. What now?"}],
}
_HELIOTROPE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "interaction_ids": {"type": "array", "items": {"type": "string", "format": "uuid"}},
        "feedback_token": {"type": ["string", "null"]},
        "model_version": {"type": "string"},
    },
}
_SECURITY: dict[str, Any] = {"security": [{"key": []}]}
SECURITY_SCHEMES = {"key": {"type": "http", "scheme": "bearer", "description": "an API key"}}


def _fail(words: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": _ERROR}}}


_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: _fail("no key, or not one of ours"),
    403: _fail("a key of another role"),
}
CHAT: dict[str, Any] = {
    "responses": _REFUSALS
    | {
        200: {
            "description": "OpenAI's completion, or its chunks; with `heliotrope` in the body or in the last chunk",
            "content": {
                "application/json": {"schema": {"type": "object", "properties": {"heliotrope": _HELIOTROPE}}},
                "text/event-stream": {"schema": {"type": "string"}},
            },
        },
        400: _fail("the body is not JSON, or a field is wrong; `param` names it"),
        404: _fail("no such model"),
        413: _fail("the body is too large"),
        502: _fail("the model server cannot be reached; its own errors keep their status"),
        503: _fail("no model is served yet"),
        504: _fail("the model server did not answer in time"),
    },
    "openapi_extra": _SECURITY
    | {
        "parameters": [{"name": "x-conversation-id", "in": "header", "required": False, "schema": {"type": "string"}}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _REQUEST, "examples": {"chat": {"value": _EXAMPLE}}}},
        },
    },
}
MODELS: dict[str, Any] = {"responses": _REFUSALS, "openapi_extra": _SECURITY}
