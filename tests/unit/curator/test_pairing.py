"""Each rule over one prompt group."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.curator.pairs.domain.pairing import Derived, derive_group
from services.curator.pairs.domain.rules import Answer, Untold
from shared.events import (
    AnyFeedback,
    Choice,
    Comment,
    Complaint,
    Edit,
    FeedbackReceived,
    Rating,
    Regenerate,
    Retract,
    Thumb,
)
from shared.finishes import Ending
from tests.builders import MORNING, make_choice, make_feedback

PROMPT = "p" * 64
TEXTS = {
    1: "Please send us the order number of the kettle.",
    2: "I cannot help you with that at all, sorry.",
    3: "Our courier will bring your parcel on Friday.",
}


def key(number: int) -> UUID:
    return UUID(int=number)


def answer(number: int, text: str | None = None, **changes: Any) -> Answer:
    given = {"interaction_id": key(number), "prompt_hash": PROMPT, "model_version": "1", "user": "ines"}
    return Answer(**{**given, "text": TEXTS.get(number, "") if text is None else text, **changes})


def said(event: int, about: int, feedback: AnyFeedback, user: str | None = "ines", minute: int = 0) -> FeedbackReceived:
    return make_feedback(
        key(1000 + event), key(about), feedback, received_at=MORNING + timedelta(minutes=minute), user=user
    )


def chose(event: int, preferred: int, one: int = 1, other: int = 2, user: str = "ines") -> FeedbackReceived:
    return said(event, one, make_choice(one, other, preferred), user)


def derive(events: list[FeedbackReceived], *answers: Answer) -> Derived:
    given = answers or (answer(1), answer(2), answer(3))
    return derive_group({item.interaction_id: item for item in given}, events)


def read(derived: Derived) -> list[tuple[str, str, str, str | None]]:
    """(rule, chosen text, state, reason) of each pair."""
    return sorted(
        (pair.draft.rule.name, pair.draft.chosen.text, pair.state, pair.reason or "") for pair in derived.pairs
    )


UP, DOWN = Thumb(value="up"), Thumb(value="down")


def test_a_choice_prefers_the_chosen_answer() -> None:
    assert read(derive([chose(1, preferred=2)])) == [("choice", TEXTS[2], "active", "")]


def test_a_tie_says_nothing() -> None:
    tie = Choice(other_interaction_id=key(2), presented_order=[key(1), key(2)], tie=True)
    assert derive([said(1, 1, tie)]) == Derived([], [])


@pytest.mark.parametrize(
    "changes, reason", [({"prompt_hash": "q" * 64}, "different_prompts"), ({"user": "tomas"}, "different_users")]
)
def test_a_choice_between_strangers_is_refused(changes: dict[str, str], reason: str) -> None:
    derived = derive([chose(1, preferred=1)], answer(1), answer(2, **changes))
    assert read(derived) == [("choice", TEXTS[1], "refused", reason)]


def test_an_edit_stands_over_what_it_corrects() -> None:
    text = "Please send us the order number of the toaster."
    assert read(derive([said(1, 1, Edit(text=text))])) == [("edit", text, "active", "")]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("please send us the order number of the kettle", "trivial_edit"),
        ("...", "emptied_edit"),
        ("the " * 200, "edit_out_of_bounds"),
        ("Nein danke", "edit_out_of_bounds"),
    ],
)
def test_a_poor_edit_is_refused(text: str, reason: str) -> None:
    assert read(derive([said(1, 1, Edit(text=text))])) == [("edit", text, "refused", reason)]


def test_one_users_thumbs_up_and_down_make_a_pair_and_no_labels() -> None:
    derived = derive([said(1, 1, UP), said(2, 2, DOWN)])
    assert read(derived) == [("same_user_contrast", TEXTS[1], "active", "")]
    assert derived.labels == []


def test_ratings_two_apart_make_a_pair_and_one_apart_do_not() -> None:
    apart = derive([said(1, 1, Rating(value=5)), said(2, 2, Rating(value=3))])
    near = derive([said(1, 1, Rating(value=4)), said(2, 2, Rating(value=3))])
    assert [rule for rule, *_ in read(apart)] == ["same_user_contrast"]
    assert read(near) == []


def test_different_users_contrast_weighs_less_than_one_users() -> None:
    across = derive([said(1, 1, UP, "ines"), said(2, 2, DOWN, "tomas")]).pairs[0]
    within = derive([said(1, 1, UP, "ines"), said(2, 2, DOWN, "ines")]).pairs[0]
    assert across.draft.rule.name == "cross_user_contrast"
    assert across.draft.rule.epsilon > within.draft.rule.epsilon


def test_a_regenerated_answer_is_undesirable_and_no_pair_without_praise() -> None:
    derived = derive([said(1, 1, Regenerate(replacement_interaction_id=key(2)))])
    assert read(derived) == []
    assert [(label.rule.name, label.desirable) for label in derived.labels] == [("regenerate", False)]


def test_intermediates_of_a_chain_are_never_chosen() -> None:
    events = [
        said(1, 1, Regenerate(replacement_interaction_id=key(2))),
        said(2, 2, Regenerate(replacement_interaction_id=key(3))),
        said(3, 2, UP, minute=1),
        said(4, 3, UP, minute=2),
    ]
    assert read(derive(events)) == [("regenerate", TEXTS[3], "active", "")]


def test_a_lone_thumb_is_a_label() -> None:
    labels = derive([said(1, 1, UP)]).labels
    assert [(label.answer.interaction_id, label.desirable) for label in labels] == [(key(1), True)]


def test_a_middling_rating_and_a_comment_say_nothing() -> None:
    assert derive([said(1, 1, Rating(value=3)), said(2, 1, Comment(text="hm"))]) == Derived([], [])


@pytest.mark.parametrize("category", ["harmful", "wrong", "off_topic", "other"])
def test_a_complaint_vetoes_its_answer_as_chosen_and_as_desirable(category: Any) -> None:
    events = [chose(1, preferred=1), said(2, 1, UP), said(3, 1, Complaint(category=category), "tomas")]
    derived = derive(events)
    assert read(derived) == [("choice", TEXTS[1], "refused", "complaint")]
    assert not [label for label in derived.labels if label.desirable]


def test_an_answer_that_somebody_found_harmful_is_undesirable() -> None:
    labels = derive([said(1, 1, Complaint(category="harmful"))]).labels
    assert [(label.rule.name, label.desirable) for label in labels] == [("harmful", False)]
    assert derive([said(1, 1, Complaint(category="wrong"))]).labels == []


def test_sides_in_two_languages_are_compared_only_on_purpose() -> None:
    spanish = answer(2, "Por favor, envíenos el número de pedido de la tetera que no le ha llegado en esta semana.")
    english = answer(1, "Please send us the order number of the kettle that you have not been able to find.")
    contrast = derive([said(1, 1, UP), said(2, 2, DOWN)], english, spanish)
    assert read(contrast) == [("same_user_contrast", english.text, "refused", "different_languages")]
    assert read(derive([chose(1, preferred=1)], english, spanish)) == [("choice", english.text, "active", "")]


def test_a_side_longer_than_any_training_row_is_refused() -> None:
    endless = answer(2, "word " * 5_000)
    assert read(derive([chose(1, preferred=2)], answer(1), endless)) == [
        ("choice", endless.text, "refused", "too_long")
    ]


def test_what_is_set_aside_supports_nothing_and_brings_nothing_back() -> None:
    events = [said(1, 1, UP, minute=0), said(2, 1, DOWN, minute=5)]
    answers = {key(1): answer(1)}
    assert derive_group(answers, events, frozenset({key(1002)})) == Derived([], [])


def test_a_retraction_withdraws_what_rested_on_its_event_alone() -> None:
    events = [chose(1, preferred=1), said(2, 1, Retract(retracted_event_id=key(1001)))]
    assert derive(events) == Derived([], [])


def test_nobody_retracts_for_somebody_else() -> None:
    events = [chose(1, preferred=1), said(2, 1, Retract(retracted_event_id=key(1001)), "tomas")]
    assert read(derive(events)) == [("choice", TEXTS[1], "active", "")]


def test_a_changed_mind_counts_by_when_it_happened() -> None:
    labels = derive([said(2, 1, UP, minute=0), said(1, 1, DOWN, minute=5)]).labels
    assert [label.desirable for label in labels] == [False]


def test_equally_old_minds_are_told_apart_by_event_id() -> None:
    labels = derive([said(2, 1, UP), said(1, 1, DOWN)]).labels
    assert [label.desirable for label in labels] == [True]


def test_the_stronger_of_two_contradicting_pairs_stands() -> None:
    events = [chose(1, preferred=1), said(2, 2, UP), said(3, 1, DOWN)]
    assert read(derive(events)) == [
        ("choice", TEXTS[1], "active", ""),
        ("same_user_contrast", TEXTS[2], "refused", "contradicted"),
    ]


def test_near_ties_are_contested() -> None:
    answers = [answer(1, user=None), answer(2, user=None)]
    derived = derive([chose(1, preferred=1, user="ines"), chose(2, preferred=2, user="tomas")], *answers)
    assert {state for _, _, state, _ in read(derived)} == {"contested"}


@pytest.mark.parametrize(
    "other, reason",
    [
        (answer(2, text=" "), "empty"),
        (answer(2, error="timeout"), "error_answer"),
        (answer(2, text=" Please send us the order number of the kettle. "), "same_answer"),
    ],
)
def test_poor_sides_are_refused(other: Answer, reason: str) -> None:
    assert read(derive([chose(1, preferred=1)], answer(1), other)) == [("choice", TEXTS[1], "refused", reason)]


@pytest.mark.parametrize("ending, reason", [("filtered", "filtered"), ("failed", "error_answer")])
def test_an_answer_that_a_filter_or_a_fault_ended_is_on_neither_side_and_has_no_label(ending: Ending, reason: str):
    broken = answer(2, ending=ending)
    for preferred in (1, 2):
        (pair,) = derive([chose(1, preferred=preferred)], answer(1), broken).pairs
        assert (pair.state, pair.reason) == ("refused", reason)
    assert derive([said(1, 2, UP)], broken).labels == []
    assert derive([said(1, 2, DOWN)], broken).labels == []


def test_an_answer_that_ended_nobody_knows_why_is_never_chosen():
    strange = answer(2, ending="unknown")
    assert read(derive([chose(1, preferred=2)], answer(1), strange)) == [
        ("choice", TEXTS[2], "refused", "unknown_ending")
    ]
    assert read(derive([chose(1, preferred=1)], answer(1), strange)) == [("choice", TEXTS[1], "active", "")]
    assert derive([said(1, 2, UP)], strange).labels == []


def test_an_answer_that_was_cut_off_is_never_chosen_and_never_desirable() -> None:
    cut = answer(2, ending="cut_off")
    assert read(derive([chose(1, preferred=2)], answer(1), cut)) == [("choice", TEXTS[2], "refused", "truncated")]
    assert read(derive([chose(1, preferred=1)], answer(1), cut)) == [("choice", TEXTS[1], "active", "")]
    assert derive([said(1, 2, UP)], cut).labels == []


def test_who_changed_their_mind_about_an_answer_contrasts_it_by_their_last_word() -> None:
    five, down = said(1, 1, Rating(value=5), minute=1), said(2, 1, DOWN, minute=5)
    assert read(derive([five, down, said(3, 2, Rating(value=1))])) == []
    assert read(derive([five, down, said(3, 2, UP)])) == [("same_user_contrast", TEXTS[2], "active", "")]
    back = said(4, 1, UP, minute=9)  # replaces the thumb
    assert read(derive([five, down, back, said(3, 2, Rating(value=1))])) == [
        ("same_user_contrast", TEXTS[1], "active", "")
    ]
    of_tomas = said(5, 1, DOWN, user="tomas", minute=9)
    assert ("same_user_contrast", TEXTS[1], "active", "") in read(derive([five, of_tomas, said(3, 2, Rating(value=1))]))


@pytest.mark.parametrize("untold", ["tool_calls", "reasoning"])
def test_an_answer_whose_text_is_not_all_that_the_model_wrote_is_refused_and_counted(untold: Untold) -> None:
    partial = answer(2, untold=untold)
    for preferred in (1, 2):
        (pair,) = derive([chose(1, preferred=preferred)], answer(1), partial).pairs
        assert (pair.state, pair.reason) == ("refused", untold)
    edited = derive([said(1, 2, Edit(text="I can help you with that, madam."))], partial)
    assert [pair.reason for pair in edited.pairs] == [untold]
    assert derive([said(1, 2, UP), said(2, 2, Rating(value=1))], partial).labels == []
