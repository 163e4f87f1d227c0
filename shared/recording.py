"""What an interaction goes without on its way to the bus, at every door: bytes of attachments, ids in clear."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from shared.events import Message

TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})
CONVERSATION = "conversation_id"
_DATA_URI = re.compile(r"data:[\w.+-]*(?:/[\w.+-]*)?(?:;[\w.+-]+=[\w.+-]*)*;base64,[A-Za-z0-9+/_=-]{64,}", re.ASCII)


def split_conversation(metadata: Mapping[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """Return the conversation's id that a client named in the metadata, and the metadata without it."""
    others = dict(metadata or {})
    named = others.pop(CONVERSATION, None)
    return (str(named) if named else None), others


def hash_attachments(messages: list[Message]) -> list[Message]:
    """Return the messages with `{"type": ..., "sha256": <hex>}` for each content part that carries bytes.

    The hash is that of the part's URL or fields as JSON, so that the same image is the same prompt however it came.
    Texts stay, but for the data URIs in them, and so do parts that only name an http(s) URL.
    """
    return [_hash_in_message(message) for message in messages]


def _hash_in_message(message: Message) -> Message:
    content = message.get("content")
    if isinstance(content, str):
        return message | {"content": hash_data_uris(content)}
    return message | {"content": [_hash_part(part) for part in content]} if isinstance(content, list) else message


def _hash_part(part: Any) -> Any:
    if isinstance(part, str):
        return hash_data_uris(part)
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind in TEXT_PARTS:
        text = part.get("text") if isinstance(part, dict) else None
        return part | {"text": hash_data_uris(text)} if isinstance(text, str) else part
    if isinstance(part.get("sha256"), str):
        return part
    source = part.get(kind, part)
    source = source.get("url", source) if isinstance(source, dict) else source
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return part
    content = json.dumps(source, sort_keys=True, ensure_ascii=False)
    return {"type": kind, "sha256": hashlib.sha256(content.encode(errors="replace")).hexdigest()}


def hash_data_uris(text: str) -> str:
    """Return the text with `data:image/png;sha256,<hex>` for each data URI of some length."""
    return _DATA_URI.sub(_hash_data_uri, text) if ";base64," in text else text


def _hash_data_uri(found: re.Match[str]) -> str:
    kind, _, content = found[0].partition(";base64,")
    return f"{kind.partition(';')[0]};sha256,{hashlib.sha256(content.encode()).hexdigest()}"
