"""Leave images, audio and files out of what is recorded: their SHA-256 stands for their bytes."""

import hashlib
import json
from typing import Any

from shared.events import Message

TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})


def hash_attachments(messages: list[Message]) -> list[Message]:
    """Return the messages with `{"type": ..., "sha256": <hex>}` for each content part that carries bytes.

    The hash is that of the part's URL or fields as JSON, so that the same image is the same prompt however it came.
    Texts stay, and so do parts that only name an http(s) URL.
    """
    return [_hash_in_message(message) if isinstance(message.get("content"), list) else message for message in messages]


def _hash_in_message(message: Message) -> Message:
    return message | {"content": [_hash_part(part) for part in message["content"]]}


def _hash_part(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind in TEXT_PARTS:
        return part
    source = part.get(kind, part)
    source = source.get("url", source) if isinstance(source, dict) else source
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return part
    content = json.dumps(source, sort_keys=True, ensure_ascii=False)
    return {"type": kind, "sha256": hashlib.sha256(content.encode(errors="replace")).hexdigest()}
