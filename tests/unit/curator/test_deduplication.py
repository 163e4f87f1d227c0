"""Whose an id is when several API keys use it, and whose an event is that does not say so."""

from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.curator.evidence.domain.deduplication import (
    ReceivedFeedback,
    assign_ids,
    deduplicate,
)
from shared.events import FeedbackReceived, Retract, Thumb
from shared.feedback import attribute, derive_current_feedback, scope_id
from shared.user_hashes import UserHashes
from tests.builders import make_feedback

HASHES = UserHashes("")

KEYS = ("alpha", "beta", "gamma")


def thumb(number: int, key_id: str, user: str | None = "ines", value: str = "up") -> FeedbackReceived:
    return make_feedback(number, 1, Thumb(value="up" if value == "up" else "down"), key_id=key_id, user=user)


def store(state: dict[UUID, ReceivedFeedback], batch: list[FeedbackReceived]) -> None:
    """As the handler does, without Postgres."""
    arrived = [ReceivedFeedback.of(event, HASHES) for event in batch]
    holders = {item.key: state[item.key].event.key_id for item in arrived if item.key in state}
    assigned, given_up = assign_ids(arrived, holders)
    for event_id, key_id in given_up.items():
        state[scope_id(event_id, key_id)] = state.pop(event_id)
    settled = deduplicate(assigned, {item.key: state[item.key].content_hash for item in assigned if item.key in state})
    state.update({item.key: item for item in (*settled.new, *settled.replacing)})


@given(
    st.lists(st.builds(thumb, st.integers(2, 4), st.sampled_from(KEYS), value=st.sampled_from(["up", "down"]))),
    st.data(),
)
def test_no_key_swallows_anothers_event_and_order_does_not_matter(
    events: list[FeedbackReceived], data: st.DataObject
) -> None:
    one: dict[UUID, ReceivedFeedback] = {}
    store(one, events)
    other: dict[UUID, ReceivedFeedback] = {}
    waiting = data.draw(st.permutations(events))
    while waiting:
        size = data.draw(st.integers(1, len(waiting)))
        store(other, waiting[:size])
        waiting = waiting[size:]
    assert {key: item.event for key, item in one.items()} == {key: item.event for key, item in other.items()}
    assert {(item.event.key_id, item.event.event_id) for item in one.values()} == {
        (event.key_id, event.event_id) for event in events
    }


def test_the_smallest_key_keeps_an_id_whoever_came_first() -> None:
    later, _ = assign_ids([ReceivedFeedback.of(thumb(2, "beta"), HASHES)], {UUID(int=2): "alpha"})
    assert [item.key for item in later] == [scope_id(UUID(int=2), "beta")]
    earlier, given_up = assign_ids([ReceivedFeedback.of(thumb(2, "alpha"), HASHES)], {UUID(int=2): "beta"})
    assert ([item.key for item in earlier], given_up) == ([UUID(int=2)], {UUID(int=2): "beta"})


def test_feedback_without_a_user_is_that_of_the_user_who_was_answered() -> None:
    anonymous, named = thumb(2, "alpha", user=None), thumb(3, "alpha", user="tomas")
    assert attribute(anonymous, UUID(int=2), "ines").user == "ines"
    assert attribute(named, UUID(int=3), "ines").user == "tomas"
    assert attribute(anonymous, UUID(int=2), None) is anonymous


def test_a_retraction_withdraws_its_own_keys_event_where_another_has_the_id() -> None:
    ours, theirs = thumb(2, "beta"), thumb(2, "alpha", user="ines")
    ours = msgspec.structs.replace(ours, event_id=scope_id(UUID(int=2), "beta"))
    retraction = msgspec.structs.replace(
        thumb(9, "beta"), event_id=UUID(int=9), feedback=Retract(retracted_event_id=UUID(int=2))
    )
    assert derive_current_feedback([ours, theirs, retraction]) == [theirs]
