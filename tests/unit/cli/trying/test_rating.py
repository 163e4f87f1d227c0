"""One person's blind comparisons: what is shown says nothing of who wrote what, and each vote counts for its side."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cli.trying.answering import Answers
from cli.trying.rating.session import Session, Vote, choose_looks
from cli.trying.splitting import Splits
from cli.trying.verdicts import LEAST_UNITS, decide
from services.curator.cells.domain.near_gate import NearGate
from shared.conversation import Conversation

KEYS = [f"prompt-{at}" for at in range(40)]


def make_session(count: int = 40, seed: str = "s") -> Session:
    conversations = {key: Conversation([{"role": "user", "content": f"Ask {key}?"}]) for key in KEYS}
    answers = Answers({key: f"old {key}" for key in KEYS}, {key: f"new {key}" for key in KEYS}, {})
    return Session(KEYS[:count], conversations, answers, seed)


def vote_for(session: Session, start: str) -> None:
    """Vote for whoever's text starts so."""
    shown = session.show()
    side: Vote = "left" if shown["left"].startswith(start) else "right"
    session.take(shown["done"], side)


def test_votes_for_the_new_answers_make_it_better_and_end_early() -> None:
    session = make_session()
    while not session.is_over:
        vote_for(session, "new")
    assert 7 <= len(session.scores) < 15
    assert decide(session.measure()).verdict == "better"


def test_votes_for_the_old_answers_make_it_worse() -> None:
    session = make_session()
    while not session.is_over:
        vote_for(session, "old")
    assert decide(session.measure()).verdict == "worse"


def test_somebody_who_always_says_left_has_no_preference() -> None:
    session = make_session()
    while not session.is_over:
        session.take(session.show()["done"], "left")
    assert decide(session.measure()).verdict == "no_evidence"


def test_sides_are_drawn_about_evenly_and_anew_for_each_seed() -> None:
    sides = [tuple(make_session(seed=seed).is_new_left(key) for key in KEYS) for seed in "abc"]
    assert len(set(sides)) == 3
    assert all(10 <= sum(own) <= 30 for own in sides)


def test_what_is_shown_names_neither_side() -> None:
    shown = make_session().show()
    assert set(shown) == {"done", "most", "over", "turns", "left", "right"}


def test_a_vote_that_comes_twice_is_heard_once() -> None:
    session = make_session()
    for _ in range(3):
        session.take(0, "tie")
    session.take(5, "left")
    assert list(session.scores.values()) == [0.5]


def test_whoever_stops_at_once_has_said_nothing() -> None:
    session = make_session()
    session.is_ended = True
    assert session.show() == {"done": 0, "most": 40, "over": True}
    assert decide(session.measure()).verdict == "cannot_say"


def split(cells: Mapping[str, str]) -> Splits:
    near: dict[str, Any] = {"prompts": frozenset(), "thresholds": {}, "measured_on": {}, "gate_prompts": 0}
    return Splits(cells, {}, {}, NearGate(**near))


def test_equal_answers_are_shown_to_nobody_and_each_region_once() -> None:
    cells = {key: f"cell-{at % 8}" for at, key in enumerate(KEYS)}
    old = dict.fromkeys(KEYS, "same")
    new = {key: "same" if at % 2 else f"other {at}" for at, key in enumerate(KEYS)}
    looks = choose_looks(Answers(old, new, {}), split(cells), "s")
    assert sorted(cells[key] for key in looks) == ["cell-0", "cell-2", "cell-4", "cell-6"]
    assert all(new[key] != "same" for key in looks)


def test_too_few_regions_are_not_asked_about() -> None:
    session = make_session(LEAST_UNITS - 1)
    assert session.is_over
    decision = decide(session.measure())
    assert decision.verdict == "cannot_say"
    assert f"only {LEAST_UNITS - 1} regions" in decision.because
    assert not make_session(LEAST_UNITS).is_over


@pytest.mark.parametrize("regions", [3, 8, 10])
def test_regions_that_lean_fool_nobody_more_often_than_promised(regions: int) -> None:
    """Claim: of models that are alike on the whole, at most 5% are called better or worse, however regions lean.

    In each region the person always prefers the same model, drawn by a coin; he stops as soon as it is clear.
    """
    keys = [f"prompt-{at}" for at in range(120)]
    cells = {key: f"cell-{at % regions}" for at, key in enumerate(keys)}
    answers = Answers(dict.fromkeys(keys, "old"), dict.fromkeys(keys, "new"), {})
    conversations = {key: Conversation([{"role": "user", "content": key}]) for key in keys}
    rng = np.random.default_rng(20_261_130 + regions)
    fooled = 0
    for run in range(200):
        leaning = {cell: bool(rng.integers(2)) for cell in sorted(set(cells.values()))}
        session = Session(choose_looks(answers, split(cells), f"{run}"), conversations, answers, f"{run}")
        while not session.is_over:
            vote_for(session, "new" if leaning[cells[session.prompts[len(session.scores)]]] else "old")
        fooled += decide(session.measure()).verdict in ("better", "worse")
    assert fooled <= 0.05 * 200
