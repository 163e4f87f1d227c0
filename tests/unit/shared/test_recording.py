"""What no door lets through to the bus: bytes of attachments, and a conversation's id in clear."""

import base64
import time

import pytest

from shared.conversation import canonicalize, explain_unrenderable
from shared.recording import hash_attachments, hash_data_uris, split_conversation

BYTES = base64.b64encode(bytes(range(256)) * 4).decode()
URI = f"data:image/png;base64,{BYTES}"


def test_a_conversation_named_in_the_metadata_leaves_it():
    assert split_conversation({"conversation_id": "chat-77", "page": "/cart"}) == ("chat-77", {"page": "/cart"})
    assert split_conversation({"conversation_id": 77}) == ("77", {})
    assert split_conversation({"conversation_id": None}) == (None, {})
    assert split_conversation(None) == (None, {})


@pytest.mark.parametrize(
    "content",
    [
        f"What is ![this]({URI})?",
        [f"What is {URI}?"],
        [{"type": "text", "text": f"What is {URI}?"}],
        [{"type": "image_url", "image_url": {"url": URI}}],
        [{"type": "input_audio", "input_audio": {"data": BYTES, "format": "wav"}}],
        [{"type": "file", "file": {"file_data": URI}}],
    ],
)
def test_no_bytes_go_on_however_they_are_written_and_nothing_is_trained_on(content: object):
    (message,) = hash_attachments([{"role": "user", "content": content}])
    assert BYTES not in str(message)
    assert hash_attachments([message]) == [message]
    assert explain_unrenderable(canonicalize([message])) == "media"


def test_texts_and_links_stay():
    for content in (
        "data: base64,",
        "a;base64,QUJD",
        [{"type": "image_url", "image_url": {"url": "https://x.example/"}}],
    ):
        assert hash_attachments([{"role": "user", "content": content}]) == [{"role": "user", "content": content}]
    assert hash_data_uris(f"<{URI}> and <{URI}>").count("data:image/png;sha256,") == 2


@pytest.mark.parametrize(
    "unit", ["data:", "data:a", "data:a/b;c=d", ";base64,", "data:a;base64,A", "data:a/b;c=d;", "a"]
)
def test_looking_for_bytes_costs_what_the_length_costs(unit: str):
    hash_data_uris(";base64," + unit * 10)
    began = time.process_time()
    hash_data_uris(";base64," + unit * (2_000_000 // len(unit)))
    assert time.process_time() - began < 2
