"""The generated document is not stale."""

from pathlib import Path

import msgspec

from shared.asyncapi import build_asyncapi
from shared.events import TOPICS

DOCUMENT = Path(__file__).parents[3] / "docs" / "api" / "asyncapi.json"


def test_the_committed_asyncapi_document_is_what_the_events_say():
    committed = msgspec.json.decode(DOCUMENT.read_bytes())
    assert committed == msgspec.json.decode(msgspec.json.encode(build_asyncapi())), "run: make api-docs"


def test_it_has_a_channel_for_each_topic():
    assert list(build_asyncapi()["channels"]) == list(TOPICS)
