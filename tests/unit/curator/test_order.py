"""What is derived from a history does not depend on how it arrived."""

from datetime import timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from services.curator.pairs.domain.pairing import derive_group
from services.curator.pairs.domain.rules import Answer
from shared.events import AnyFeedback, Choice, Complaint, Edit, FeedbackReceived, Rating, Regenerate, Retract, Thumb
from tests.builders import MORNING, make_feedback

WORDS = ["please", "send", "us", "your", "order", "number", "and", "we", "will", "ship", "a", "new", "kettle", "today"]
ANSWERS = {
    UUID(int=number): Answer(UUID(int=number), "p", " ".join(WORDS[number : number + 5]), "1", None)
    for number in range(5)
}
KEYS = st.sampled_from(sorted(ANSWERS))


@st.composite
def choices(draw: st.DrawFn) -> tuple[UUID, Choice]:
    one, other = draw(KEYS), draw(KEYS)
    preferred = draw(st.sampled_from([one, other]))
    return one, Choice(other_interaction_id=other, presented_order=[one, other], preferred_interaction_id=preferred)


SAID: st.SearchStrategy[tuple[UUID, AnyFeedback]] = st.one_of(
    choices(),
    st.tuples(KEYS, st.builds(Thumb, value=st.sampled_from(["up", "down"]))),
    st.tuples(KEYS, st.builds(Rating, value=st.integers(1, 5))),
    st.tuples(KEYS, st.builds(Edit, text=st.sampled_from(["we will ship a lamp", "no", "please send it back"]))),
    st.tuples(KEYS, st.builds(Regenerate, replacement_interaction_id=KEYS)),
    st.tuples(KEYS, st.builds(Complaint, category=st.just("wrong"))),
    st.tuples(KEYS, st.builds(Retract, retracted_event_id=st.integers(100, 110).map(lambda n: UUID(int=n)))),
)


@st.composite
def histories(draw: st.DrawFn) -> list[FeedbackReceived]:
    said = draw(st.lists(SAID, max_size=12))
    return [
        make_feedback(
            100 + number,
            about,
            feedback,
            received_at=MORNING + timedelta(minutes=draw(st.integers(0, 3))),
            user=draw(st.sampled_from(["ines", "tomas", None])),
        )
        for number, (about, feedback) in enumerate(said)
    ]


@settings(max_examples=200)
@given(histories(), st.data())
def test_order_and_repetition_of_events_do_not_matter(history: list[FeedbackReceived], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(history), max_size=5)) if history else []
    shuffled = data.draw(st.permutations(history + again))
    answers = dict(data.draw(st.permutations(list(ANSWERS.items()))))
    assert derive_group(answers, shuffled) == derive_group(ANSWERS, history)


@given(histories())
def test_no_two_active_pairs_contradict_each_other(history: list[FeedbackReceived]) -> None:
    active = [pair.draft for pair in derive_group(ANSWERS, history).pairs if pair.state == "active"]
    sides = {(draft.chosen.text, draft.rejected.text) for draft in active}
    assert not any((rejected, chosen) in sides for chosen, rejected in sides)
