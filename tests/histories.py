"""Random histories of a small shop: interactions and every type of feedback, some of it late, wrong or withdrawn."""

from datetime import timedelta
from uuid import UUID

from hypothesis import strategies as st

from shared.events import (
    AnyFeedback,
    Choice,
    Comment,
    Complaint,
    Edit,
    FeedbackReceived,
    InteractionRecorded,
    Rating,
    Regenerate,
    Retract,
    Thumb,
)
from tests.builders import MORNING, make_feedback, make_interaction

PROMPTS = ("Where is my kettle?", "How do I return the lamp?", "My radio broke.", "Can I change the order of the desk?")
ANSWERS = (
    "Please send us the order number and we will look for it.",
    "Please send us the order number and we will look for it today.",
    "I am only a model and know nothing of your order.",
    "Our courier brings it on Friday, between nine and noon.",
    "We are sorry. Shall we send you a new one, or the money?",
    "",
)
USERS = ("ines", "tomas", "wanda", None)
INTERACTIONS = 12
FIRST_EVENT = 1_000
"""Event ids are even, so that each has a neighbour of its own to be resent under."""

ABOUT = st.integers(1, INTERACTIONS).map(lambda number: UUID(int=number))
EDITS = ("Please send us the order number of the kettle.", "Please send the order number and we look for it.", "no")


@st.composite
def interactions(draw: st.DrawFn, number: int) -> InteractionRecorded:
    return make_interaction(
        number,
        draw(st.sampled_from(PROMPTS[:3])),
        draw(st.sampled_from(ANSWERS)),
        model_version=draw(st.sampled_from(["1", "2"])),
        served_at=MORNING + timedelta(seconds=number),
        user=draw(st.sampled_from(USERS)),
        solicited=draw(st.booleans()),
    )


@st.composite
def choices(draw: st.DrawFn) -> tuple[UUID, AnyFeedback]:
    one, other = draw(ABOUT), draw(ABOUT)
    if draw(st.integers(0, 4)) == 0:
        return one, Choice(other_interaction_id=other, presented_order=[one, other], tie=True)
    order = draw(st.permutations([one, other]))
    preferred = draw(st.sampled_from([one, other]))
    return one, Choice(other_interaction_id=other, presented_order=list(order), preferred_interaction_id=preferred)


SAID: st.SearchStrategy[tuple[UUID, AnyFeedback]] = st.one_of(
    choices(),
    st.tuples(ABOUT, st.builds(Thumb, value=st.sampled_from(["up", "down"]))),
    st.tuples(ABOUT, st.builds(Rating, value=st.integers(1, 5))),
    st.tuples(ABOUT, st.builds(Edit, text=st.sampled_from(EDITS))),
    st.tuples(ABOUT, st.builds(Regenerate, replacement_interaction_id=ABOUT)),
    st.tuples(ABOUT, st.builds(Complaint, category=st.sampled_from(["harmful", "wrong"]))),
    st.tuples(ABOUT, st.builds(Comment, text=st.just("hm"))),
    st.tuples(
        ABOUT,
        st.builds(
            Retract,
            retracted_event_id=st.integers(0, 20).map(lambda number: UUID(int=FIRST_EVENT + 2 * number)),
        ),
    ),
)


@st.composite
def feedback(draw: st.DrawFn, number: int) -> FeedbackReceived:
    about, said = draw(SAID)
    return make_feedback(
        FIRST_EVENT + 2 * number,
        about,
        said,
        received_at=MORNING + timedelta(minutes=draw(st.integers(0, 3))),
        user=draw(st.sampled_from(USERS)),
    )


Occurrence = InteractionRecorded | FeedbackReceived


@st.composite
def histories(draw: st.DrawFn, most: int = 24) -> list[Occurrence]:
    """Distinct events under distinct ids; feedback may speak of an interaction that never comes."""
    missing = draw(st.sets(st.integers(1, INTERACTIONS), max_size=2))
    served = [draw(interactions(number)) for number in range(1, INTERACTIONS + 1) if number not in missing]
    return [*served, *(draw(feedback(number)) for number in range(draw(st.integers(0, most))))]
