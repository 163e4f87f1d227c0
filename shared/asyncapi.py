"""The six events as an AsyncAPI 3.0 document: `python -m shared.asyncapi > docs/api/asyncapi.json`."""

import sys
from typing import Any

import msgspec

from shared.events import EVENT_TYPES

CLOUDEVENTS_HEADERS = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time")


def build_asyncapi() -> dict[str, Any]:
    """Return the document, from the events' own declarations."""
    _, schemas = msgspec.json.schema_components(EVENT_TYPES, ref_template="#/components/schemas/{name}")
    headers = {
        "type": "object",
        "required": list(CLOUDEVENTS_HEADERS),
        "properties": {name: {"type": "string"} for name in CLOUDEVENTS_HEADERS},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Heliotrope", "version": "1", "description": "The loop is six events."},
        "defaultContentType": "application/json",
        "channels": {
            event.topic: {"address": event.topic, "messages": {event.__name__: _message_ref(event.__name__)}}
            for event in EVENT_TYPES
        },
        "components": {
            "messages": {
                event.__name__: {
                    "summary": (event.__doc__ or "").splitlines()[0],
                    "headers": headers,
                    "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
                }
                for event in EVENT_TYPES
            },
            "schemas": schemas,
        },
    }


def _message_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/messages/{name}"}


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(build_asyncapi(), order="sorted")) + b"\n")
