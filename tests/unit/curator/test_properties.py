"""Whatever way a history arrives in, the dataset is the same to the byte."""

from typing import Any
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.events import FeedbackReceived, Retract
from tests.builders import MORNING, make_feedback
from tests.histories import Occurrence, histories
from tests.unit.curator.small_store import SmallStore


def freeze(events: list[Occurrence]) -> tuple[Any, str]:
    store = SmallStore()
    for event in events:
        store.store(event)
    return store.freeze()


@given(histories(), st.data())
def test_order_and_repetition_do_not_change_a_byte(history: list[Occurrence], data: st.DataObject) -> None:
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=8)) if history else []
    assert freeze(data.draw(st.permutations(history + repeated))) == freeze(history)


@given(histories(), st.data())
def test_two_bodies_under_one_id_end_the_same_in_any_order(history: list[Occurrence], data: st.DataObject) -> None:
    rivals = [_change(event) for event in history if data.draw(st.booleans())]
    assert freeze(data.draw(st.permutations(history + rivals))) == freeze(history + rivals)


def _change(event: Occurrence) -> Occurrence:
    if isinstance(event, FeedbackReceived):
        return msgspec.structs.replace(event, user="rival")
    return msgspec.structs.replace(event, answer=event.answer + " And a good day to you.")


@given(histories(), st.data())
def test_an_event_retracted_and_sent_anew_gives_the_same_rows_but_for_ids(
    history: list[Occurrence], data: st.DataObject
) -> None:
    said = [event for event in history if isinstance(event, FeedbackReceived) and event.user is not None]
    if not said:
        return
    event = data.draw(st.sampled_from(said))
    named = {one.feedback.retracted_event_id for one in said if isinstance(one.feedback, Retract)}
    if event.event_id in named or isinstance(event.feedback, Retract):
        return
    again = msgspec.structs.replace(event, event_id=UUID(int=event.event_id.int + 1))
    retraction = make_feedback(
        9_999,
        event.interaction_id,
        Retract(retracted_event_id=event.event_id),
        received_at=MORNING,
        key_id=event.key_id,
        user=event.user,
    )
    before, after = freeze(history)[0], freeze(data.draw(st.permutations([*history, retraction, again])))[0]
    assert _without_ids(after) == _without_ids(before)


def _without_ids(files: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [{key: value for key, value in row.items() if key not in ("pair_id", "label_id")} for row in rows]
        for name, rows in files.items()
    }
