import itertools
from collections import Counter
from random import Random

import msgspec
import pytest

from local.simulation.corrections import write_correction
from local.simulation.prompts import LIVE_ITEMS, LIVE_TEMPLATES, Question, draw_live_questions
from local.simulation.users import Shown, SimulatedUser, Temper, is_approved, make_users, meet_newcomers
from shared.events import AnyFeedback

QUESTION = Question(
    template="Where is my {item}? It should have come by now.",
    topic="delivery",
    item="coffee grinder",
    text="Where is my coffee grinder? It should have come by now.",
)
GOOD = "Please send us your order number and we will ask the courier about the coffee grinder."
EMPTY = "How can I assist you today?"
RAMBLING = "The coffee grinder is a wonderful invention that " + "changed the world of coffee and " * 8 + "so on"
INTERACTION = "0190b0f2-7d5e-7000-8000-000000000001"
KINDS = {"thumb", "rating", "choice", "edit", "regenerate", "complaint", "comment", "retract"}


def make_user(seed: int = 1, *, temper: Temper = "honest", noise: float = 0.0) -> SimulatedUser:
    return SimulatedUser("customer-007", Random(seed), temper=temper, noise=noise)


@pytest.mark.parametrize(
    ("answer", "approved"),
    [
        (GOOD, True),
        ("Open My Orders and click the tracking link.", True),
        (EMPTY, False),
        ("Sorry about that.", False),
        ("Thank you for your message about the coffee grinder, we value you.", False),
        ("Please send us your order number and we will look into it.", False),
        (GOOD.removesuffix("."), False),
        (f"{GOOD} " * 4, False),
        (RAMBLING, False),
        ("", False),
    ],
)
def test_an_answer_is_liked_when_short_on_the_subject_and_with_a_next_step(answer: str, approved: bool) -> None:
    assert is_approved(QUESTION, answer) is approved


def test_users_write_corrections_that_they_like_themselves() -> None:
    rng = Random(3)
    for topic, templates in LIVE_TEMPLATES.items():
        for item in LIVE_ITEMS:
            question = Question(template=templates[0], topic=topic, item=item, text=templates[0].format(item=item))
            assert all(is_approved(question, write_correction(question, rng)) for _ in range(5)), (topic, item)


def test_corrections_of_different_questions_are_hardly_ever_the_same() -> None:
    rng = Random(5)
    written = Counter(write_correction(question, rng) for question in draw_live_questions(200, rng))
    assert len(written) > 190


def test_a_crowd_gives_every_kind_of_feedback_in_the_form_that_ingest_takes() -> None:
    rng = Random(11)
    seen: Counter[str] = Counter()
    for user in make_users(40, rng):
        question = draw_live_questions(1, rng)[0]
        for text in (RAMBLING, GOOD, EMPTY, RAMBLING):
            shown, other = Shown(make_id(rng), text), Shown(make_id(rng), GOOD)
            reaction = user.react(question, shown)
            events = [*reaction.events, *user.choose(question, shown, other)]
            if reaction.wants_another:
                events += user.react_to_replacement(question, shown, other)
            for event in events:
                assert event.pop("user_id") == user.user_id
                assert event.pop("event_id")
                assert event.pop("interaction_id")
                msgspec.convert(event, AnyFeedback)
                seen[event["type"]] += 1
    assert set(seen) == KINDS
    assert min(seen.values()) >= 3


def make_id(rng: Random) -> str:
    return f"{rng.getrandbits(32):08x}-0000-4000-8000-000000000000"


def test_a_retraction_names_the_event_it_withdraws() -> None:
    user = make_user()
    events = [event for _ in range(40) for event in user.react(QUESTION, Shown(make_id(Random(1)), EMPTY)).events]
    posted = {event["event_id"] for event in events}
    withdrawn = [event["retracted_event_id"] for event in events if event["type"] == "retract"]
    assert withdrawn
    assert set(withdrawn) <= posted


def test_votes_prefer_the_better_answer_wherever_it_stands() -> None:
    user = make_user()
    assert user.vote(QUESTION, GOOD, RAMBLING) == "left"
    assert user.vote(QUESTION, EMPTY, GOOD) == "right"
    assert user.vote(QUESTION, EMPTY, RAMBLING) == "tie"
    assert user.vote(QUESTION, GOOD, GOOD) == "tie"


def test_a_contrary_user_votes_the_other_way_and_corrects_nothing() -> None:
    user = make_user(temper="contrary")
    assert user.vote(QUESTION, GOOD, RAMBLING) == "right"
    events = [event for _ in range(40) for event in user.react(QUESTION, Shown("1", GOOD)).events]
    assert "edit" not in {event["type"] for event in events}


def test_few_are_contrary_and_the_same_seed_makes_the_same_people() -> None:
    users = make_users(50, Random(2))
    assert sum(user.temper == "contrary" for user in users) == 3
    assert [user.temper for user in make_users(50, Random(2))] == [user.temper for user in users]
    assert len({user.user_id for user in users}) == 50


def test_newcomers_never_run_out_and_are_all_different_people():
    met = list(itertools.islice(meet_newcomers(Random(4)), 1_000))

    assert len({user.user_id for user in met}) == 1_000
    assert sum(user.temper == "contrary" for user in met) == 60


def test_a_random_user_likes_half_of_everything_and_rewrites_nothing():
    user = make_user(temper="random")

    reactions = [user.react(QUESTION, Shown(INTERACTION, text)) for text in (GOOD, EMPTY) * 300]
    verdicts = [event["value"] == "up" for each in reactions for event in each.events if event["type"] == "thumb"]
    votes = Counter(user.vote(QUESTION, GOOD, EMPTY) for _ in range(600))

    assert abs(sum(verdicts) / len(verdicts) - 0.5) < 0.08
    assert not [event for each in reactions for event in each.events if event["type"] == "edit"]
    assert votes["tie"] == 0
    assert abs(votes["left"] / 600 - 0.5) < 0.08


def test_a_spoiling_user_turns_a_good_answer_into_one_that_nobody_else_likes():
    user = make_user(temper="spoiling")

    events = [event for _ in range(12) for event in user.react(QUESTION, Shown(INTERACTION, GOOD)).events]
    rewritten = [event["text"] for event in events if event["type"] == "edit"]

    assert len(rewritten) >= 5
    assert not any(is_approved(QUESTION, text) for text in rewritten)
    assert user.vote(QUESTION, GOOD, EMPTY) == "right"


def test_a_user_who_came_to_want_shorter_answers_dislikes_what_was_welcome():
    user = make_user()
    assert user.vote(QUESTION, GOOD, EMPTY) == "left"

    user.longest_words = 8

    assert user.react(QUESTION, Shown(INTERACTION, "Open My Orders and click the tracking link.")).events
    assert user.vote(QUESTION, GOOD, "Open My Orders and click the tracking link.") == "right"
