"""The contracts on the wire."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from shared.bus import Record, decode, encode
from shared.conversation import calculate_prompt_hash
from shared.errors import UndecodableEvent
from shared.events import (
    EVENT_TYPES,
    TOPICS,
    Event,
    FeedbackReceived,
    GateResult,
    InteractionRecorded,
    Reason,
    RolloutAdvanced,
    Thumb,
)
from shared.feedback import calculate_content_hash, effective_time
from shared.ids import calculate_user_hash, new_id
from shared.summaries import read_summary
from tests.builders import NOON, make_routing

ANSWER_ID = UUID("01936c5e-0000-7000-8000-000000000001")


def thumb(**changes: object) -> FeedbackReceived:
    event = FeedbackReceived(
        event_id=UUID("01936c5e-0000-7000-8000-0000000000aa"),
        interaction_id=ANSWER_ID,
        feedback=Thumb(value="up"),
        received_at=NOON,
        key_id="a1b2c3d4e5f6",
        user="f00d",
    )
    return msgspec.structs.replace(event, **changes)


def interaction() -> InteractionRecorded:
    return InteractionRecorded(
        interaction_id=ANSWER_ID,
        messages=[{"role": "user", "content": "Where is my parcel?"}],
        answer="Open Orders and choose Track.",
        model_version="1",
        served_at=NOON,
        key_id="a1b2c3d4e5f6",
    )


def rollout() -> RolloutAdvanced:
    return RolloutAdvanced(state="adopted", summary="first champion", routing=make_routing(), at=NOON)


def test_the_loop_is_six_events_in_the_order_in_which_they_happen():
    assert TOPICS == (
        "interaction.recorded",
        "feedback.received",
        "retrain.requested",
        "training.completed",
        "evaluation.completed",
        "rollout.advanced",
    )
    assert len(EVENT_TYPES) == 6


@pytest.mark.parametrize("event", [thumb(), interaction(), rollout()], ids=lambda event: event.topic)
def test_an_event_survives_the_wire(event: Event):
    record = encode(event, source="ingest", topic_prefix="t-")
    assert decode(record) == event
    assert record.topic == "t-" + event.topic
    assert record.headers["ce_specversion"] == "1.0"
    assert record.headers["ce_type"] == f"heliotrope.{event.topic}"
    assert record.headers["ce_id"] == event.identity


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b'{"type":"Surprise"}',
        b'{"type":"FeedbackReceived"}',
        b'{"type":"FeedbackReceived","metadata":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
    ],
    ids=lambda value: value[:40].decode(errors="replace"),
)
def test_anything_else_on_the_wire_is_undecodable(value: bytes):
    with pytest.raises(UndecodableEvent):
        decode(Record("feedback.received", b"k", value))


def test_a_field_of_a_newer_build_is_ignored():
    content = msgspec.json.decode(encode(thumb(), source="ingest").value)
    content["mood"] = "sunny"
    assert decode(Record("feedback.received", b"k", msgspec.json.encode(content))) == thumb()


def test_a_retry_has_the_content_hash_of_its_first_try():
    assert calculate_content_hash(thumb()) == calculate_content_hash(thumb(received_at=datetime.now(UTC)))


def test_another_body_under_the_same_id_has_another_content_hash():
    assert calculate_content_hash(thumb()) != calculate_content_hash(thumb(feedback=Thumb(value="down")))


def test_prompts_are_equal_whatever_the_order_of_their_keys():
    one = [{"role": "user", "content": "Where is my parcel?"}]
    other = [{"content": "Where is my parcel?", "role": "user"}]
    assert calculate_prompt_hash(one) == calculate_prompt_hash(other)


def test_feedback_without_a_time_of_its_own_happened_when_it_was_received():
    earlier = datetime(2026, 11, 1, tzinfo=UTC)
    assert effective_time(thumb()) == NOON
    assert effective_time(thumb(occurred_at=earlier)) == earlier


def test_a_user_hash_is_keyed_and_tells_users_from_conversations():
    assert calculate_user_hash("anna", None, "secret") == calculate_user_hash("anna", "c1", "secret")
    assert calculate_user_hash("anna", None, "secret") != calculate_user_hash("anna", None, "other secret")
    assert calculate_user_hash("anna", None, "secret") != calculate_user_hash(None, "anna", "secret")
    assert calculate_user_hash(None, None, "secret") is None


def test_new_ids_sort_by_the_time_they_were_made():
    ids = [new_id() for _ in range(100)]
    assert ids == sorted(ids)
    assert {made.version for made in ids} == {7}


@pytest.mark.parametrize(
    ("body", "record_type"),
    [
        ({"kind": "manual"}, Reason),
        ({"name": "win_rate", "verdict": "pass"}, GateResult),
    ],
)
def test_text_that_release_0_1_0_wrote_as_words_is_read_as_summary(body: dict[str, str], record_type: type[Reason]):
    old, new = msgspec.json.encode(body | {"words": "said"}), msgspec.json.encode(body | {"summary": "said"})
    assert msgspec.json.decode(old, type=record_type) == msgspec.json.decode(new, type=record_type)
    assert msgspec.json.decode(msgspec.json.encode(msgspec.json.decode(old, type=record_type)))["summary"] == "said"
    assert read_summary({"words": "said"}) == read_summary({"summary": "said"}) == "said"
