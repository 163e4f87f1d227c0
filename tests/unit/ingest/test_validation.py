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
