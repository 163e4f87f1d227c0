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
        "safety_identifier": {"type": ["string", "null"], "description": "the user, where `user` is not given"},
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
_COMPLETION: dict[str, Any] = {
    "type": "object",
    "properties": {"choices": {"type": "array", "items": {"type": "object"}}, "heliotrope": _HELIOTROPE},
    "required": ["choices", "heliotrope"],
}
_ANSWER: dict[str, Any] = {
    "id": "0199c2f0-7a3e-7c54-9d7b-1f2e3a4b5c6d",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "heliotrope",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Send us your order number and we replace the lamp."},
            "finish_reason": "stop",
        }
    ],
    "heliotrope": {
        "interaction_ids": ["0199c2f0-7a3e-7c54-9d7b-1f2e3a4b5c6d"],
        "feedback_token": "eyJ1Ijoi.aSK2xg.5Yz0",
        "model_version": "1",
    },
}
_MODEL: dict[str, Any] = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "object": {"const": "model"}, "owned_by": {"type": "string"}},
    "required": ["id", "object", "owned_by"],
}
_MODELS: dict[str, Any] = {
    "type": "object",
    "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL}},
    "required": ["object", "data"],
}
_HELIOTROPE_MODEL = {"id": "heliotrope", "object": "model", "created": 0, "owned_by": "heliotrope"}
_FAMILY = {"object": "list", "data": [_HELIOTROPE_MODEL]}
_SECURITY: dict[str, Any] = {"security": [{"key": []}]}
SECURITY_SCHEMES = {"key": {"type": "http", "scheme": "bearer", "description": "an API key"}}


def _fail(
    description: str, kind: str, message: str, *, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    example = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return {"description": description, "content": {"application/json": {"schema": _ERROR, "example": example}}}


_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: _fail(
        "no key, or not one of ours",
        "authentication_error",
        "unknown, expired or revoked API key",
        code="invalid_api_key",
    ),
    403: _fail(
        "a key of another role",
        "permission_error",
        "this needs the role frontend or ops or admin; this key has the role rater",
        code="role_not_allowed",
    ),
}
CHAT: dict[str, Any] = {
    "responses": _REFUSALS
    | {
        200: {
            "description": "OpenAI's completion, or its chunks; with `heliotrope` in the body or in the last chunk",
            "content": {
                "application/json": {"schema": _COMPLETION, "example": _ANSWER},
                "text/event-stream": {"schema": {"type": "string"}},
            },
        },
        400: _fail(
            "the body is not JSON, or a field is wrong; `param` names it",
            "invalid_request_error",
            "'messages' must hold at least one message",
            param="messages",
        ),
        404: _fail(
            "no such model",
            "invalid_request_error",
            "the model 'gpt-9' does not exist here; ask for 'heliotrope'",
            code="model_not_found",
            param="model",
        ),
        408: _fail(
            "the body did not arrive in time",
            "invalid_request_error",
            "the body was not there within 20 s",
        ),
        413: _fail(
            "the body is too large",
            "invalid_request_error",
            "a body may have at most 4194304 bytes",
            code="request_too_large",
        ),
        415: _fail(
            "a content encoding that is not decoded",
            "invalid_request_error",
            "send the body as it is, or with the content encoding gzip or deflate",
        ),
        429: _fail(
            "the model server takes no more for now: one of its own errors, which keep their status and body",
            "rate_limit_error",
            "too many requests",
        ),
        502: _fail(
            "the model server cannot be reached, or did not answer in its protocol",
            "server_error",
            "the model server cannot be reached",
            code="unreachable",
        ),
        503: _fail(
            "no model is served yet, or its server has just failed too often; see Retry-After",
            "server_error",
            "no model is served yet: adopt one with 'heliotrope adopt'",
            code="no_routing_table",
        ),
        504: _fail(
            "the model server did not answer in time",
            "server_error",
            "the model server did not answer in time",
            code="timeout",
        ),
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
MODELS: dict[str, Any] = {
    "responses": _REFUSALS
    | {
        200: {
            "description": "the family; for operators the versions that are served",
            "content": {"application/json": {"schema": _MODELS, "example": _FAMILY}},
        }
    },
    "openapi_extra": _SECURITY,
}
MODEL: dict[str, Any] = {
    "responses": _REFUSALS
    | {
        200: {
            "description": "a model that this key may ask for",
            "content": {"application/json": {"schema": _MODEL, "example": _HELIOTROPE_MODEL}},
        },
        404: CHAT["responses"][404],
    },
    "openapi_extra": _SECURITY
    | {"parameters": [{"name": "model_id", "in": "path", "required": True, "schema": {"type": "string"}}]},
}
