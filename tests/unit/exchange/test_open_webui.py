"""Open WebUI writes a rating down twice, in the chat and as a record of its own: it is one event."""

from datetime import UTC, datetime
from typing import Any

from cli.exchange.dry_run import Preview
from cli.exchange.events import Import
from cli.exchange.found import Found, Options
from cli.exchange.registry import IMPORTERS
from shared.events import Comment, Complaint, FeedbackReceived
from shared.user_hashes import UserHashes

ABOUT = Import("chats", "open-webui", datetime(2000, 1, 1, tzinfo=UTC), UserHashes("a secret of sixteen"))
RATED = {"rating": -1, "comment": "You should know.", "reason": "not_factually_correct", "details": {"rating": 2}}


def make_chat(**named: str) -> dict[str, Any]:
    asked = {"id": "u1", "parentId": None, "role": "user", "content": "Where is my lamp?", "models": ["m"]}
    answer = {"id": "a1", "parentId": "u1", "role": "assistant", "content": "No idea.", "model": "m", "done": True}
    messages = {"u1": asked, "a1": answer | {"annotation": RATED} | named}
    return {"id": "chat-1", "user_id": "ines", "chat": {"history": {"messages": messages}}}


def make_feedback(**data: Any) -> dict[str, Any]:
    about = {"meta": {"chat_id": "chat-1", "message_id": "a1"}, "snapshot": {"chat": make_chat(feedbackId="fb-1")}}
    return {"id": "fb-1", "user_id": "ines", "data": data or RATED, "created_at": 1_767_000_100, **about}


def read(record: dict[str, Any]) -> Found:
    return IMPORTERS["open-webui"].read(record, Options())


def list_ids(record: dict[str, Any]) -> list[Any]:
    return [one.event_id for one in ABOUT.derive_events(read(record)) if isinstance(one, FeedbackReceived)]


def test_a_rating_in_a_chat_is_the_event_of_the_feedback_record_that_it_names():
    assert len(list_ids(make_chat(feedbackId="fb-1"))) == 4
    assert list_ids(make_chat(feedbackId="fb-1")) == list_ids(make_feedback())
    assert set(list_ids(make_chat())).isdisjoint(list_ids(make_feedback()))


def test_both_exports_together_make_what_one_makes_and_a_dry_run_says_that_they_meet():
    alone, both = Preview(), Preview()
    alone.take(list(ABOUT.derive_events(read(make_feedback()))))
    for record in (make_chat(feedbackId="fb-1"), make_feedback()):
        both.take(list(ABOUT.derive_events(read(record))))
    assert len(both.feedback) == len(alone.feedback)
    assert (both.derive()["same_ids"], alone.derive()["same_ids"]) == (4, 0)
    assert both.derive()["labels"] == alone.derive()["labels"]


def test_a_reason_that_is_no_complaint_is_a_comment_or_is_named():
    alone = read(make_feedback(rating=1, reason="attention_to_detail"))
    assert [one.says for one in alone.feedback if isinstance(one.says, Comment)] == [
        Comment(text="attention_to_detail")
    ]
    beside = read(make_feedback(rating=1, reason="attention_to_detail", comment="Good."))
    assert [one.says for one in beside.feedback if isinstance(one.says, Comment)] == [Comment(text="Good.")]
    assert [(one.reason, one.field) for one in beside.refused] == [("not_read", "reason")]
    assert Complaint(category="wrong") in [one.says for one in read(make_feedback()).feedback]


def test_a_rating_outside_its_scale_leaves_the_words_beside_it():
    found = read(make_feedback(rating=12, comment="Good."))
    assert ([one.says for one in found.feedback], found.refused[0].reason) == ([Comment(text="Good.")], "outside_scale")
