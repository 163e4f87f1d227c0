"""Groups who judge what nobody else judges: found, capped, and believed where somebody vouches for them."""

import random
from uuid import UUID

import pytest

from bench.data.measures import Measured, measure
from bench.data.ours import curate_story
from bench.data.worlds import WORLDS, tell_apart
from bench.noise.curator import run_curator
from services.curator.datasets.domain.snapshot import Caps, derive_snapshot
from services.curator.pairs.domain.rules import CHOICE
from services.curator.weighing.domain.closed_groups import find_closed_groups
from services.curator.weighing.domain.curation import curate
from services.curator.weighing.domain.history import Decisions, FeedbackRecord, History, PairEvidence
from services.curator.weighing.domain.judgement_arrays import JudgementArrays, count_judgements
from services.curator.weighing.domain.quarantine import Quarantine, describe_quarantined
from services.curator.weighing.domain.votes import Judgement
from tests.builders import MORNING


def vote(user: str, prompt: str, sign: int = 1) -> Judgement:
    return Judgement((user,), (prompt, "one answer", "the other"), sign, CHOICE.name)


def make_rows(votes: list[Judgement]) -> tuple[JudgementArrays, list[str]]:
    names = sorted({one.user for one in votes})
    return count_judgements(votes, {name: number for number, name in enumerate(names)}), names


def cast(users: list[str], prompts: int, each: int, topic: str, rng: random.Random) -> list[Judgement]:
    """Each prompt of the topic is judged by `each` of these users."""
    return [vote(user, f"{topic}-{number}") for number in range(prompts) for user in rng.sample(users, each)]


def find(votes: list[Judgement]) -> list[list[str]]:
    rows, names = make_rows(votes)
    return [[names[user] for user in group] for group in find_closed_groups(rows)]


CROWD = [f"user{number:03d}" for number in range(100)]
GROUP = [f"friend{number:02d}" for number in range(12)]


def test_a_group_that_meets_nobody_is_found_and_the_crowd_is_not() -> None:
    rng = random.Random(1)
    assert find(cast(CROWD, 300, 3, "shop", rng) + cast(GROUP, 30, 3, "own", rng)) == [GROUP]


def test_a_group_that_meets_others_in_a_tenth_of_its_meetings_is_not_closed() -> None:
    rng = random.Random(2)
    crowd, group = cast(CROWD, 300, 3, "shop", rng), cast(GROUP, 30, 3, "own", rng)
    met_seldom = [vote(GROUP[0], "shop-0")]
    met_often = [vote(user, f"shop-{number}") for number, user in enumerate(GROUP * 2)]
    assert find(crowd + group + met_seldom) == [GROUP]
    assert find(crowd + group + met_often) == []


@pytest.mark.parametrize("seed", range(5))
def test_users_who_seldom_meet_are_no_closed_groups(seed: int) -> None:
    """So few meetings that chance alone leaves many parts that meet nobody else."""
    assert find(cast(CROWD, 60, 2, "shop", random.Random(seed))) == []


def test_a_small_group_is_judged_user_by_user() -> None:
    rng = random.Random(3)
    assert find(cast(CROWD, 400, 3, "shop", rng) + cast(GROUP[:4], 8, 3, "own", rng)) == []


def measure_group(seed: int, *, honest: bool) -> Measured:
    story = tell_apart(seed, 0.2, honest=honest)
    return measure(story, curate_story(story))


def test_colluders_with_words_of_their_own_hold_a_twentieth_of_the_weight() -> None:
    figures = measure_group(905, honest=False).figures
    assert 0.03 < figures["colluding weight"] <= 0.051
    assert figures["honest set aside"] == 0


def test_a_camp_is_not_doubted_for_the_disagreements_that_made_it_a_camp() -> None:
    """Few votes each: users fall into camps by chance, and the others disagree on the items that both judged."""
    story = WORLDS["Chinese"](7701)
    run = run_curator(story.groups, story.solicited)
    honest = {event.user for event in run.events if event.event_id in story.honest}
    contrary = {name for name, rater in run.curated.reliability.raters.items() if rater.contrary}
    assert len(honest & contrary) <= 0.05 * len(honest)


def make_choices(users: list[str], prompts: int, first: int) -> tuple[list[PairEvidence], dict[UUID, FeedbackRecord]]:
    pairs, said = [], {}
    rng = random.Random(first)
    for number in range(prompts):
        prompt = f"{first}-{number}"
        for at, user in enumerate(rng.sample(users, 3)):
            key = UUID(int=10_000 * first + 10 * number + at + 1)
            pairs.append(
                PairEvidence(
                    f"pair-{key}", prompt, "train", f"yes{first}", f"no{first}", CHOICE.name, 1, CHOICE.epsilon,
                    (key,), UUID(int=1), UUID(int=2), "1", "1",
                )
            )  # fmt: skip
            said[key] = FeedbackRecord(key, user, MORNING)
    return pairs, said


@pytest.fixture(scope="module")
def shop() -> History:
    crowd, theirs = make_choices(CROWD, 200, 1), make_choices(GROUP, 60, 100)
    return History([*crowd[0], *theirs[0]], [], crowd[1] | theirs[1], {})


def count_kept(history: History, decisions: Decisions, caps: Caps) -> int:
    """Count the group's rows."""
    frozen = derive_snapshot(curate(history, decisions), history, {}, caps)
    return sum(one.item.prompt_hash.startswith("100-") for one in frozen.train)


def test_a_closed_group_is_capped_until_a_person_vouches_for_it(shop: History) -> None:
    caps = Caps(per_user=200, per_prompt=20)
    assert 0 < count_kept(shop, Decisions(), caps) < 60
    assert count_kept(shop, Decisions(users_released=frozenset(GROUP)), caps) == 60


def test_a_setting_lifts_the_cap(shop: History) -> None:
    assert count_kept(shop, Decisions(), Caps(per_user=200, per_prompt=20, per_group=1)) == 60


def test_people_see_who_is_in_a_closed_group(shop: History) -> None:
    rows = describe_quarantined(shop, Quarantine(), curate(shop, Decisions()))
    assert {row["subject_id"] for row in rows if row["reason"] == "closed_group"} == set(GROUP)


def test_a_group_that_nobody_vouches_for_keeps_the_doubt_of_strangers(shop: History) -> None:
    curated = curate(shop, Decisions())
    theirs = [one.epsilon for one in curated.pairs if one.item.prompt_hash.startswith("100-")]
    assert min(theirs) > 0.1
