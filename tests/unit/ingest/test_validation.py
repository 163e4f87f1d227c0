"""What is wrong with a well-formed event."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.ingest.domain.validation import (
    TimeLimits,
    assess_characters,
    assess_feedback,
    assess_messages,
    assess_time,
    calculate_clock_offset,
)
from shared.events import Choice, Regenerate, Thumb

LEFT = UUID("0199c2f0-7a3e-7c54-9d7b-1f2e3a4b5c6d")
RIGHT = UUID("0199c2f0-8b4f-7d65-8e8c-2a3b4c5d6e7f")
STRANGER = UUID("0199c2f0-9c5a-7e76-8f9d-3b4c5d6e7f80")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MONTH = TimeLimits(timedelta(seconds=60), timedelta(days=30))


def choice(**fields: object) -> Choice:
    return Choice(**({"other_interaction_id": RIGHT, "presented_order": [RIGHT, LEFT]} | fields))  # type: ignore[arg-type]


def wrong_fields(feedback: Choice) -> list[str]:
    return [error.field for error in assess_feedback(feedback, LEFT)]


@pytest.mark.parametrize(
    "fields, wrong",
    [
        ({"preferred_interaction_id": RIGHT}, []),
        ({"tie": True}, []),
        ({}, ["preferred_interaction_id"]),
        ({"tie": True, "preferred_interaction_id": LEFT}, ["preferred_interaction_id"]),
        ({"preferred_interaction_id": STRANGER}, ["preferred_interaction_id"]),
        ({"tie": True, "presented_order": [LEFT, LEFT]}, ["presented_order"]),
        ({"tie": True, "presented_order": [LEFT, STRANGER]}, ["presented_order"]),
        ({"tie": True, "other_interaction_id": LEFT}, ["other_interaction_id"]),
    ],
)
def test_a_choice_is_between_two_answers_and_has_one_outcome(fields: dict[str, object], wrong: list[str]):
    assert wrong_fields(choice(**fields)) == wrong


def test_an_answer_cannot_replace_itself():
    [error] = assess_feedback(Regenerate(replacement_interaction_id=LEFT), LEFT)
    assert error.field == "replacement_interaction_id"
    assert assess_feedback(Regenerate(replacement_interaction_id=RIGHT), LEFT) == []
    assert assess_feedback(Thumb(value="up"), LEFT) == []


@pytest.mark.parametrize(
    "at, fine",
    [
        (None, True),
        (NOON + timedelta(seconds=59), True),
        (NOON + timedelta(seconds=61), False),
        (NOON - timedelta(days=29), True),
        (NOON - timedelta(days=31), False),
    ],
)
def test_live_feedback_is_neither_from_the_future_nor_too_old(at: datetime | None, fine: bool):
    assert (assess_time("occurred_at", at, NOON, MONTH) == []) is fine


def test_history_may_be_as_old_as_it_is():
    limits = TimeLimits(timedelta(seconds=60), None)
    assert assess_time("served_at", datetime(2019, 5, 1, tzinfo=UTC), NOON, limits) == []


def test_a_message_without_a_role_is_named_by_its_index():
    errors = assess_messages([{"role": "user", "content": "hello"}, {"content": "hello"}, {"role": ""}])
    assert [error.field for error in errors] == ["messages.1.role", "messages.2.role"]


def test_characters_that_postgres_cannot_store_are_found_wherever_they_are():
    value = {"text": "fine", "metadata": {"tags": ["fine", "not\0fine"], "a\0b": 1}}
    assert sorted(error.field for error in assess_characters(value)) == ["metadata", "metadata.tags.1"]


def test_what_is_told_of_a_body_does_not_grow_with_what_is_wrong_in_it():
    zeros = assess_characters({"k" * 8_000: ["\0" * 5] * 8_000})
    assert (len(zeros), max(len(error.field) for error in zeros) < 100) == (20, True)
    assert len(assess_messages([{}] * 20_000)) == 20


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00Z", "2014-12-31T23:59:59Z"])
def test_a_time_before_2015_is_refused_and_so_is_the_last_one(text: str):
    anything_goes = TimeLimits(timedelta(seconds=60), None)
    assert assess_time("served_at", datetime.fromisoformat(text), NOON, anything_goes)
    assert assess_time("served_at", datetime.fromisoformat("9999-12-31T23:59:59-23:59"), NOON, anything_goes)
    assert not assess_time("served_at", datetime(2015, 1, 1, tzinfo=UTC), NOON, anything_goes)


@pytest.mark.parametrize(
    "occurred, sent, offset",
    [
        (-60, 0, 0),  # a minute ago by a right clock
        (-60, 3, 0),  # within the skew: left alone
        (7_140, 7_200, -7_200),  # a clock two hours ahead, a minute ago
        (-3_660, -3_600, 3_600),  # an hour behind
        (120, None, -120),  # ahead, and nothing to correct it with: now
        (86_400, None, -86_400),
        (86_460, None, 0),  # beyond a day: refused as it stands
        (50, None, 0),  # within the skew
        (30, 5, -30),  # said to have happened after it was sent: now
        (-2_000_000_000, -1_999_999_940, 1_999_999_940),  # a clock that stands at 1963
    ],
)
def test_a_wrong_clock_is_corrected(occurred: int, sent: int | None, offset: int):
    sent_at = None if sent is None else NOON + timedelta(seconds=sent)
    found = calculate_clock_offset(NOON + timedelta(seconds=occurred), sent_at, NOON, MONTH)
    assert found == timedelta(seconds=offset)


def test_times_at_the_ends_of_the_calendar_are_no_surprise():
    for text in ("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-23:59"):
        at = datetime.fromisoformat(text)
        calculate_clock_offset(at, at, NOON, MONTH)
        calculate_clock_offset(at, None, NOON, MONTH)
        calculate_clock_offset(NOON, at, NOON, MONTH)
