"""All evidence weighed together: who is believed, what each rule is worth, what is set aside."""

import random
import statistics
from dataclasses import replace
from uuid import UUID

import pytest

from services.curator.pairs.domain.rules import CHOICE, CROSS_USER_CONTRAST, SAME_USER_CONTRAST
from services.curator.weighing.domain.curation import curate
from services.curator.weighing.domain.history import Decisions, FeedbackRecord, History
from services.curator.weighing.domain.noise import calculate_ages, calculate_staleness, combine_errors
from services.curator.weighing.domain.position_bias import find_favoured_strength, fit_position_bias
from services.curator.weighing.domain.quarantine import derive_quarantine
from services.curator.weighing.domain.reliability import PRIOR_MEAN
from services.curator.weighing.domain.votes import name_judgement
from tests.builders import MORNING
from tests.unit.curator.shop_votes import make_crowd, make_history, make_item, vote

NOBODY = Decisions()


def test_contrary_users_are_found_and_believed_less() -> None:
    curated = curate(make_crowd(), NOBODY)
    raters = curated.reliability.raters
    contrary = [f"user{number:02d}" for number in range(4)]
    assert max(raters[user].reliability for user in contrary) < 0.5
    assert min(rater.reliability for name, rater in raters.items() if name not in contrary) > 0.8
    assert {user for cluster in curated.preference_clusters for user in cluster.users} <= set(contrary)
    better = {make_item(item)[0]: make_item(item)[1] for item in range(120)}
    kept = [one for one in curated.pairs if one.reason is None]
    assert sum(one.item.chosen == better[one.item.prompt_hash] for one in kept) / len(kept) > 0.98


def test_the_same_disagreements_weigh_more_where_many_users_guess() -> None:
    """Ten votes each. In both crowds the last half of the users is right; in one, the first half tosses coins."""
    suspicious, trusting = (
        curate(make_crowd(seed=5, contrary=10, users=20, votes=10, flip=flip), NOBODY).reliability.raters
        for flip in (0.5, 0.02)
    )
    names = [f"user{number:02d}" for number in range(20)]
    guessing, honest = names[:10], names[10:]
    assert statistics.fmean(suspicious[name].reliability for name in guessing) < 0.65
    assert statistics.fmean(suspicious[name].reliability for name in honest) > 0.85
    assert min(trusting[name].reliability for name in names) > 0.8


def test_users_who_are_contrary_in_the_same_way_are_shown_as_one_taste() -> None:
    largest = curate(make_crowd(), NOBODY).preference_clusters[0]
    assert len(largest.users) >= 3
    assert largest.agreement > 0.3


def test_the_order_of_the_evidence_changes_no_figure() -> None:
    crowd = make_crowd(seed=3)
    pairs = random.Random(1).sample(list(crowd.pairs), len(crowd.pairs))
    said = dict(random.Random(2).sample(list(crowd.feedback.items()), len(crowd.feedback)))
    assert curate(replace(crowd, pairs=pairs, feedback=said), NOBODY) == curate(crowd, NOBODY)


def test_one_vote_alone_leaves_its_user_at_the_prior() -> None:
    curated = curate(make_history([vote(1, "ines", 1)]), NOBODY)
    assert curated.reliability.raters["ines"].reliability == PRIOR_MEAN
    assert [one.epsilon for one in curated.pairs] == [
        pytest.approx(combine_errors(1 - PRIOR_MEAN, CHOICE.epsilon), abs=0.001)
    ]


def test_a_rule_that_audits_contradict_gets_a_higher_epsilon() -> None:
    audits = [vote(item, f"judge{item}", item, solicited=True) for item in range(40)]
    wrong = [vote(100 + item, f"user{item}", item, right=item % 2 == 0, rule=SAME_USER_CONTRAST) for item in range(40)]
    table = {line.rule: line for line in curate(make_history(audits + wrong), NOBODY).calibration}
    assert (table["same_user_contrast"].audits, table["same_user_contrast"].disagreed) == (40, 20)
    assert table["same_user_contrast"].epsilon > 0.3
    assert table["edit"].epsilon == pytest.approx(table["edit"].prior, abs=0.005)


def test_a_rule_that_audits_confirm_gets_a_lower_epsilon() -> None:
    audits = [vote(item, f"judge{item}", item, solicited=True) for item in range(40)]
    right = [vote(100 + item, f"user{item}", item, rule=SAME_USER_CONTRAST) for item in range(40)]
    table = {line.rule: line.epsilon for line in curate(make_history(audits + right), NOBODY).calibration}
    assert table["same_user_contrast"] < SAME_USER_CONTRAST.epsilon / 2


def test_nobody_audits_themselves() -> None:
    own = [vote(item, "ines", item, solicited=True) for item in range(9)]
    own += [vote(100 + item, "ines", item, rule=SAME_USER_CONTRAST) for item in range(9)]
    table = curate(make_history(own), NOBODY).calibration
    assert sum(line.audits for line in table) == 0


def test_position_bias_is_found_and_taken_off_the_favoured_side_only() -> None:
    votes = [vote(number, f"user{number}", number, first=number % 5 > 0, solicited=True) for number in range(1_000)]
    history = make_history(votes)
    bias = fit_position_bias(history.pairs, history)
    assert bias.favoured == "first"
    assert bias.strength == pytest.approx(0.6, abs=0.05)
    strengths = {number: find_favoured_strength(history.pairs[number], history, bias) for number in (0, 1)}
    assert strengths == {0: 0.0, 1: bias.strength}
    doubts = curate(history, NOBODY).reliability.doubts
    other, favoured = (doubts[name_judgement(history.pairs[number], history)].alone for number in (0, 1))
    assert other < 0.15
    assert favoured > other + 0.2


def test_two_errors_add_up_to_no_more_than_a_coin() -> None:
    assert combine_errors(0.1, 0.2) == pytest.approx(0.26)
    assert combine_errors(0.5, 0.3) == 0.5


def test_old_writers_are_believed_less_and_the_parent_fully() -> None:
    ages = calculate_ages("4", {"2": "1", "3": "2", "4": "3", "5": "2"})
    assert [ages[version] for version in "12345"] == [3, 2, 1, 0, 3]
    assert calculate_staleness(["4"], ages) == 0
    assert calculate_staleness(["4", "1"], ages) == pytest.approx(0.03)
    assert calculate_staleness(["from another house"], ages) == 0


def test_a_circle_of_parents_ends() -> None:
    assert calculate_ages("1", {"1": "2", "2": "1"}) == {"1": 0, "2": 1}


@pytest.mark.parametrize("habit, reason", [((1.0, 0.0), "own_yardsticks"), ((0.5, 0.5), None)])
def test_praise_from_who_always_praises_and_blame_from_who_always_blames_make_no_pair(
    habit: tuple[float, float], reason: str | None
) -> None:
    pair, _ = vote(1, None, 1, rule=CROSS_USER_CONTRAST)
    pair = replace(pair, evidence=(UUID(int=1), UUID(int=2)))
    said = {
        UUID(int=1): FeedbackRecord(UUID(int=1), "ines", MORNING, value=1.0),
        UUID(int=2): FeedbackRecord(UUID(int=2), "tomas", MORNING, value=0.0),
    }
    for number in range(40):
        mine, theirs = UUID(int=100 + number), UUID(int=200 + number)
        said[mine] = FeedbackRecord(mine, "ines", MORNING, value=habit[0] if number % 2 else 1.0)
        said[theirs] = FeedbackRecord(theirs, "tomas", MORNING, value=habit[1] if number % 2 else 0.0)
    assert curate(History([pair], [], said, {}), NOBODY).pairs[0].reason == reason


def test_a_near_tie_is_contested_until_a_person_settles_it() -> None:
    history = make_history([vote(1, "ines", 1), vote(2, "tomas", 1, right=False, first=False)])
    assert {one.reason for one in curate(history, NOBODY).pairs} == {"contested"}
    settled = curate(
        history, Decisions(items_released=frozenset({"pair-000001"}), items_rejected=frozenset({"pair-000002"}))
    )
    assert {one.item.pair_id: one.reason for one in settled.pairs} == {"pair-000001": None, "pair-000002": "rejected"}


def test_a_burst_waits_for_a_person_and_a_slow_worker_does_not() -> None:
    fast = [vote(number, "robot", number, minute=0) for number in range(40)]
    slow = [vote(100 + number, "ines", number + 200, minute=number) for number in range(40)]
    waiting = derive_quarantine(make_history(fast + slow), NOBODY).waiting
    assert set(waiting.values()) == {"burst"}
    assert len(waiting) == 40


def upload(annotators: int) -> History:
    """500 judgements of 200 items at one instant, by so many users in turn, who are right in 95%."""
    rng = random.Random(4)
    return make_history(
        vote(
            number,
            f"annotator{number % annotators}",
            rng.randrange(200),
            right=rng.random() < 0.95,
            first=rng.random() < 0.5,
            minute=0,
        )
        for number in range(500)
    )


def test_rows_of_annotators_that_a_front_end_posts_with_one_time_are_no_bursts() -> None:
    assert derive_quarantine(upload(annotators=5), NOBODY).waiting == {}
    assert set(derive_quarantine(upload(annotators=2), NOBODY).waiting.values()) == {"burst"}


def test_a_brigade_of_copies_is_caught_and_those_who_merely_agree_are_not() -> None:
    crowd = make_crowd(contrary=0)
    brigade = [
        vote(90_000 + 100 * member + item, f"brigade{member}", item + 300, right=False, minute=3_000 * item + member)
        for member in range(4)
        for item in range(8)
    ]
    copies = make_history(brigade)
    both = History([*crowd.pairs, *copies.pairs], [], {**crowd.feedback, **copies.feedback}, {})
    assert set(derive_quarantine(both, NOBODY).waiting) == set(copies.feedback)
    assert set(derive_quarantine(both, NOBODY).waiting.values()) == {"copied_votes"}


def test_what_a_person_said_of_an_event_goes_before_what_was_said_of_its_user() -> None:
    history = make_history([vote(number, "robot", number, minute=0) for number in range(40)])
    rejected = UUID(int=10)
    decisions = Decisions(users_released=frozenset({"robot"}), events_rejected=frozenset({rejected}))
    found = derive_quarantine(history, decisions)
    assert (found.waiting, found.rejected) == ({}, frozenset({rejected}))
