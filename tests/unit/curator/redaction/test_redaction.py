"""Personal data leaves a text; what only looks like it stays."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from services.curator.evidence.adapters.redaction import (
    MAX_DEPTH,
    NO_TEXT,
    Redaction,
    RedactionTooSlow,
    redact_feedback,
    redact_interaction,
    redact_text,
)
from shared.db import is_transient
from shared.errors import InvalidRequest
from shared.events import Comment, Complaint, Edit, FeedbackReceived, InteractionRecorded
from tests.builders import make_feedback, make_interaction

TOKEN = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Write to ines.da-silva+shop@mail.example.pt, please.", "Write to [EMAIL], please."),
        ("My card is 4111 1111 1111 1111.", "My card is [CARD]."),
        ("Pay to DE89 3704 0044 0532 0130 00 today", "Pay to [IBAN] today"),
        ("It came from 203.0.113.77 and from 2001:db8::8a2e:370:7334.", "It came from [IP] and from [IP]."),
        ("Call +351 912 345 678 after six.", "Call [PHONE] after six."),
        ("Call (212) 456-7890 or 020 7946 0958!", "Call [PHONE] or [PHONE]!"),
        (f"My token is {TOKEN}, is it safe?", "My token is [SECRET], is it safe?"),
        ("AWS says AKIAIOSFODNN7EXAMPLE here", "AWS says [SECRET] here"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- that", "[SECRET] that"),
        ("hk_0123456789ab_" + "x" * 43, "[SECRET]"),
    ],
)
def test_each_kind_becomes_its_placeholder(text: str, redacted: str):
    assert redact_text(text, Counter()) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "Order 48293-22 of 2026-11-22 at 12:30:45 costs 1,299.00 EUR.",
        "Card 4111 1111 1111 1112 has a wrong check digit.",
        "DE00 3704 0044 0532 0130 00 is no account.",
        "Version 2.13.0 and 999.1.2.3 are no addresses.",
        "See chapter 3.1.4 @ page 12, a::b in C++, and the ratio 16:9.",
        "The id is 01a205c4-398d-7080-9e42-606746f6f019.",
        "",
    ],
)
def test_what_only_looks_like_personal_data_stays(text: str):
    assert redact_text(text, Counter()) == text


def test_redaction_counts_by_kind_and_is_the_same_again():
    counts: Counter[str] = Counter()
    once = redact_text("a@b.example, c@d.example and 203.0.113.77", counts)
    assert counts == {"email": 2, "ip": 1}
    assert redact_text(once, counts) == once
    assert counts == {"email": 2, "ip": 1}


def test_every_text_of_an_event_is_redacted_and_nothing_else_changes():
    event = make_interaction(
        1,
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "I am a@b.example"}]},
            {"role": "assistant", "tool_calls": [{"function": {"arguments": '{"to": "a@b.example"}'}}]},
        ],
        answer="Hello a@b.example.",
        metadata={"a@b.example": ["203.0.113.77", 4111111111111111]},
    )
    redacted, counts = redact_interaction(event)
    assert "example" not in repr(redacted)
    assert counts == {"email": 4, "ip": 1}
    assert (redacted.interaction_id, redacted.messages[0]["role"]) == (event.interaction_id, "user")
    edit = make_feedback(2, 1, Edit(text="Hello a@b.example, dear."))
    assert redact_feedback(edit)[0].feedback == Edit(text="Hello [EMAIL], dear.")


def test_an_event_without_personal_data_is_the_very_same():
    event = make_interaction(1)
    assert redact_interaction(event)[0] is event


def test_a_record_that_takes_too_long_is_refused_for_good():
    ticks = iter(range(1_000))
    redaction = Redaction(budget_seconds=3, clock=lambda: next(ticks))
    with pytest.raises(RedactionTooSlow) as refusal:
        redaction.redact_text("a@b.example " * 10)
    assert isinstance(refusal.value, InvalidRequest)
    assert not is_transient(refusal.value)


def test_what_is_nested_too_deep_is_refused():
    value: object = "a@b.example"
    for _ in range(MAX_DEPTH + 2):
        value = [value]
    with pytest.raises(InvalidRequest):
        Redaction().redact_value(value)


PLANTED = "Ask ines@mail.example, card 4111 1111 1111 1111"
CLEAN = "Ask [EMAIL], card [CARD]"
SHAPES: dict[str, Any] = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": PLANTED}], "name": PLANTED}],
    "tool_calls": [{"id": "1", "function": {"name": "send", "arguments": PLANTED}}],
    "metadata": {"note": [PLANTED], PLANTED: 1},
    "feedback": Comment(text=PLANTED),
}
"""Fields that are not one text; each other one is taken for one, those that somebody adds tomorrow too."""


def list_text_fields(event_type: type[msgspec.Struct]) -> list[str]:
    return sorted(set(event_type.__struct_fields__) - NO_TEXT)


@pytest.mark.parametrize("name", list_text_fields(InteractionRecorded))
def test_personal_data_leaves_every_field_of_an_interaction(name: str):
    event, counts = redact_interaction(make_interaction(1, **{name: SHAPES.get(name, PLANTED)}))
    assert counts["email"] >= 1
    assert counts["card"] >= 1
    text = msgspec.json.encode(event).decode()
    assert "mail.example" not in text
    assert "4111" not in text
    assert CLEAN in text


@pytest.mark.parametrize("name", list_text_fields(FeedbackReceived))
def test_personal_data_leaves_every_field_of_feedback(name: str):
    event = make_feedback(2, 1, Edit(text="Hello."), **{name: SHAPES[name]}) if name != "feedback" else None
    event = event or make_feedback(2, 1, SHAPES[name])
    text = msgspec.json.encode(redact_feedback(event)[0]).decode()
    assert "mail.example" not in text
    assert "4111" not in text
    assert CLEAN in text


def test_a_complaint_keeps_its_category():
    complaint = make_feedback(2, 1, Complaint(category="wrong", text=PLANTED))
    assert redact_feedback(complaint)[0].feedback == Complaint(category="wrong", text=CLEAN)


def test_ids_hashes_and_versions_are_not_redacted():
    event = make_interaction(1, user="4111111111111111", model_version="10.0.0.12", conversation_id=TOKEN, key_id=TOKEN)
    assert redact_interaction(event)[0] is event
