"""The OpenAPI document: bodies from the msgspec types that decode them, responses, examples."""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI

from services.ingest.schemas import Accepted, AnyFeedbackBody, InteractionBody, Outcomes, Problem

_REF = "#/components/schemas/{name}"
_ANSWER = "0199c2f0-7a3e-7c54-9d7b-1f2e3a4b5c6d"
_OTHER = "0199c2f0-8b4f-7d65-8e8c-2a3b4c5d6e7f"

(_feedback, _interaction, _accepted, _outcomes, _problem), _components = msgspec.json.schema_components(
    [AnyFeedbackBody, InteractionBody, Accepted, Outcomes, Problem], ref_template=_REF
)
_components["Feedback"] = _feedback

FEEDBACK_EXAMPLES: dict[str, dict[str, Any]] = {
    "thumb": {"type": "thumb", "interaction_id": _ANSWER, "user_id": "ada", "value": "up"},
    "rating": {"type": "rating", "interaction_id": _ANSWER, "user_id": "ada", "value": 4},
    "choice": {
        "type": "choice",
        "interaction_id": _ANSWER,
        "other_interaction_id": _OTHER,
        "preferred_interaction_id": _OTHER,
        "presented_order": [_ANSWER, _OTHER],
    },
    "edit": {"type": "edit", "interaction_id": _ANSWER, "text": "Send us your order number and we refund the lamp."},
    "regenerate": {"type": "regenerate", "interaction_id": _ANSWER, "replacement_interaction_id": _OTHER},
    "complaint": {"type": "complaint", "interaction_id": _ANSWER, "category": "wrong", "text": "We sell no kettles."},
    "comment": {"type": "comment", "interaction_id": _ANSWER, "text": "Friendly, but slow."},
    "retract": {"type": "retract", "interaction_id": _ANSWER, "retracted_event_id": _OTHER},
}
INTERACTION_EXAMPLE: dict[str, Any] = {
    "messages": [{"role": "user", "content": "The lamp I bought last week flickers. What now?"}],
    "answer": "Send us your order number and we replace the lamp.",
    "model_version": "1",
    "served_at": "2026-11-22T09:30:00Z",
    "user_id": "ada",
    "conversation_id": "c-1042",
}


def _describe_batch(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"events": {"type": "array", "maxItems": 1000, "items": item}},
        "required": ["events"],
        "additionalProperties": False,
    }


_BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "feedback": (_feedback, FEEDBACK_EXAMPLES),
    "feedback_batch": (_describe_batch(_feedback), {"batch": {"events": list(FEEDBACK_EXAMPLES.values())[:2]}}),
    "interaction": (_interaction, {"interaction": INTERACTION_EXAMPLE}),
    "interaction_batch": (_describe_batch(_interaction), {"batch": {"events": [INTERACTION_EXAMPLE]}}),
}
_PROBLEMS = {
    400: "the body is not JSON",
    401: "no key, or not one of ours; a token that was forged or has expired",
    403: "a key of another role, or a token of another answer",
    408: "the body did not arrive in time",
    413: "the body, or the event, is too large",
    415: "a content encoding that is not decoded",
    422: "a field is wrong; `errors` names it",
    429: "this key sends too many events, or too much waits here for the broker; see Retry-After",
}
_EXAMPLES: dict[int, tuple[str, str, dict[str, Any]]] = {
    400: ("Malformed body", "the body is not valid JSON", {}),
    401: ("Missing or unknown key", "unknown, expired or revoked API key", {}),
    403: ("Not allowed for this role", "this needs the role frontend; this key has the role ops", {}),
    404: ("Interaction not found", f"no interaction {_ANSWER} is known (yet)", {}),
    408: ("Body too slow", "the body was not there within 20 s", {}),
    409: (
        "Id taken by another body",
        "another body was sent with this id before; it stands, this one was not stored",
        {"event_id": _OTHER},
    ),
    413: ("Body too large", "a body may have at most 8388608 bytes", {}),
    415: (
        "Unsupported content encoding",
        "send the body as it is, or with the content encoding gzip or deflate",
        {},
    ),
    422: (
        "Invalid request",
        "value: must be one of up, down",
        {"errors": [{"field": "value", "message": "must be one of up, down"}]},
    ),
    429: ("Rate limit exceeded", "this key may send 2000 events/s, 10000 at once; see Retry-After", {}),
    503: (
        "Unavailable",
        "the broker did not store the event (TimeoutError); send it again with its event_id",
        {"event_id": _OTHER},
    ),
}
_BUSY = {
    409: "another body was sent with this id before",
    503: "the broker did not answer in time: send the event again with the problem's `event_id`",
}


def _respond(
    problems: Mapping[int, str], *successes: tuple[int, str, dict[str, Any]]
) -> dict[int | str, dict[str, Any]]:
    described: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {"application/json": {"schema": schema}}}
        for status, text, schema in successes
    }
    for status, text in problems.items():
        content = {"schema": _problem, "example": _make_example(status)}
        described[status] = {"description": text, "content": {"application/problem+json": content}}
    return described


def _make_example(status: int) -> dict[str, Any]:
    title, detail, more = _EXAMPLES[status]
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}


SINGLE_RESPONSES = _respond(_PROBLEMS | _BUSY, (202, "the broker has stored the event", _accepted))
BATCH_RESPONSES = _respond(_PROBLEMS, (200, "one outcome for each event, in order", _outcomes))
_SECURITY: dict[str, Any] = {"security": [{"key": []}]}
_FEEDBACK_SECURITY: dict[str, Any] = {"security": [{"key": []}, {"feedbackToken": []}]}
READ_RESPONSES: dict[str, Any] = {
    "responses": _respond(
        {status: _PROBLEMS[status] for status in (401, 403, 422)}
        | {404: "the interaction is not known", 503: "the database does not answer"},
        (200, "the events, as they were sent", {"type": "object"}),
    ),
    "openapi_extra": _FEEDBACK_SECURITY,
}


SPANS: dict[str, Any] = {
    "responses": _respond(
        _PROBLEMS | {415: "neither protobuf nor JSON", 503: "the broker did not store all: export the same again"},
        (200, "what will never be taken, if anything", {"type": "object"}),
    ),
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": "OTLP's ExportTraceServiceRequest: as JSON, or as application/x-protobuf",
            "content": {
                "application/json": {"schema": {"type": "object", "properties": {"resourceSpans": {"type": "array"}}}}
            },
        },
        **_SECURITY,
    },
}
"""The arguments of a route decorator that document an export of spans."""


def describe_body(name: str, responses: dict[int | str, dict[str, Any]]) -> dict[str, Any]:
    """Return the arguments of a route decorator that document a body which the route decodes itself."""
    schema, examples = _BODIES[name]
    content = {"schema": schema, "examples": {label: {"value": value} for label, value in examples.items()}}
    security = _FEEDBACK_SECURITY if name.startswith("feedback") else _SECURITY
    body = {"requestBody": {"required": True, "content": {"application/json": content}}}
    return {"responses": responses, "status_code": next(iter(responses)), "openapi_extra": body | security}


def extend_openapi(app: FastAPI) -> None:
    """Give the app's document the components that its bodies refer to, and the two ways to authenticate."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(_components)
        components["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "an API key of the role frontend"},
            "feedbackToken": {"type": "apiKey", "in": "header", "name": "x-heliotrope-feedback-token"},
        }
        return document

    app.openapi = openapi  # type: ignore[method-assign]
