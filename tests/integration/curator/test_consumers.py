"""Two consumers of the curator at once, against a real Postgres."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from services.curator.app.consumer import CuratorConsumer
from shared.events import AnyEvent, InteractionRecorded, Thumb
from shared.ids import new_id
from shared.tables.curator import Feedback, Interaction, Label, Pair
from tests.builders import NOON, make_choice, make_feedback, make_id, make_interaction

HOLD_SECONDS = 10


def answer(text: str) -> InteractionRecorded:
    return make_interaction(new_id(), "Where is my lamp?", text, user="ines")


def test_a_parked_choice_attaches_when_its_two_answers_are_stored_at_the_same_time(sessions: "sessionmaker[Session]"):
    one, other = answer("Send us the order number and we look."), answer("No idea about that, my friend.")
    choice = make_feedback(
        new_id(),
        one.interaction_id,
        make_choice(one.interaction_id, other.interaction_id),
        user="ines",
    )
    stored, go_on = threading.Event(), threading.Event()

    def consume(event: AnyEvent, *, overlap: bool = False) -> None:
        handler = CuratorConsumer()
        with sessions() as session, session.begin():
            handler.prepare(session, [event])
            handler.handle(session, event)
            session.flush()
            if overlap:
                stored.set()
                go_on.wait(HOLD_SECONDS)
            handler.finish(session, [event])

    consume(answer("An earlier answer to the same question."))
    consume(choice)
    first = threading.Thread(target=consume, args=(one,), kwargs={"overlap": True})
    second = threading.Thread(target=consume, args=(other,))
    first.start()
    assert stored.wait(HOLD_SECONDS)
    second.start()
    second.join(0.5)  # it has to wait for the first one, which goes on now
    go_on.set()
    first.join()
    second.join()
    with sessions() as session:
        assert session.scalar(select(Feedback.state)) == "attached"
        assert session.scalar(select(func.count()).select_from(Pair)) == 1


def consume_alone(sessions: "sessionmaker[Session]", event: AnyEvent) -> None:
    handler = CuratorConsumer()
    with sessions() as session, session.begin():
        handler.prepare(session, [event])
        handler.handle(session, event)
        handler.finish(session, [event])


@pytest.mark.parametrize("said", [{"finish_reason": "length"}, {"metadata": {"finish_reason": "length"}}])
def test_an_answer_that_was_cut_off_is_no_example_whoever_said_so(
    sessions: "sessionmaker[Session]", said: dict[str, Any]
):
    consume_alone(sessions, make_interaction(1, answer="Send us the order num", user="ines", **said))
    consume_alone(sessions, make_feedback(2, 1, Thumb(value="up"), user="ines"))
    consume_alone(sessions, make_interaction(3, answer="Send us the order number.", user="ines", finish_reason="stop"))
    consume_alone(sessions, make_feedback(4, 3, Thumb(value="up"), user="ines"))
    with sessions() as session:
        assert session.scalars(select(Label.interaction_id)).all() == [make_id(3)]


def test_evidence_moves_with_an_answer_whose_conversation_is_replaced(sessions: "sessionmaker[Session]"):
    """One id with ten bodies: that with the smallest hash stands, and what was said of it stands under its prompt."""
    interaction_id = new_id()
    for number in range(10):
        consume_alone(sessions, make_interaction(interaction_id, f"Where is order {number}?", user="ines"))
        thumb = Thumb(value="down" if number % 2 else "up")
        consume_alone(
            sessions,
            make_feedback(new_id(), interaction_id, thumb, user="ines", occurred_at=NOON + timedelta(minutes=number)),
        )
    with sessions() as session:
        (prompt_hash,) = session.scalars(select(Interaction.prompt_hash)).all()
        (label,) = session.scalars(select(Label)).all()
    assert (label.prompt_hash, label.desirable) == (prompt_hash, False)
