"""How far a judge is believed: by regions, whichever subject users or the judge dislike as a whole."""

import threading
from collections.abc import Mapping
from uuid import UUID

import numpy as np
import pytest

from cli.trying.judging import MOST_LABELS, pair_labels, score_labels
from cli.trying.learning import Watch
from cli.trying.verdicts import LEAST_AGREEMENT, Estimate, Measure, decide, decide_early, estimate
from services.curator.weighing.domain.history import LabelEvidence
from services.trainer.domain.training import Interrupted

COIN = Estimate(0.5, 0.4, 0.6, 40, 60)
NOBODY = UUID(int=0)


def make_label(region: int, number: int, desirable: bool) -> LabelEvidence:
    name = f"{region}-{number}"
    return LabelEvidence(name, f"prompt-{name}", "train", f"said {name}", desirable, "thumb", 1, 0.1, (), NOBODY, "1")


def trusts(labels: list[LabelEvidence], said: Mapping[str, float]) -> bool:
    cells = {one.prompt_hash: one.label_id.partition("-")[0] for one in labels}
    found = estimate(score_labels(pair_labels(labels, cells), said, cells))
    return found is not None and found.low > LEAST_AGREEMENT


def test_no_region_is_in_two_pairs() -> None:
    rng = np.random.default_rng(1)
    labels = [make_label(region, at, bool(rng.integers(2))) for region in range(50) for at in range(3)]
    cells = {one.prompt_hash: one.label_id.partition("-")[0] for one in labels}
    pairs = pair_labels(labels, cells)
    regions = [{cells[one.prompt_hash] for one in pair} for pair in pairs]
    assert 7 <= len(pairs) <= MOST_LABELS
    assert sum(map(len, regions)) == len(set().union(*regions))
    assert all(liked.desirable and not disliked.desirable for liked, disliked in pairs)


def test_complaints_about_one_subject_make_no_judge_believed() -> None:
    """Claim: a judge who shares the users' dislike of one subject, and nothing else, is not believed for it."""
    labels = [make_label(region, 0, True) for region in range(30)] + [make_label(99, at, False) for at in range(30)]
    assert not trusts(labels, {one.label_id: float(one.desirable) for one in labels})


def test_a_judge_of_another_taste_is_believed_in_one_of_twenty_at_most_however_regions_lean() -> None:
    rng = np.random.default_rng(20_261_131)
    believed = 0
    for _ in range(200):
        labels, said = list[LabelEvidence](), dict[str, float]()
        for region, (theirs, its) in enumerate(rng.beta(0.5, 0.5, size=(40, 2))):
            labels += [make_label(region, at, bool(rng.random() < theirs)) for at in range(5)]
            said |= {one.label_id: float(rng.random() < its) for one in labels[-5:]}
        believed += trusts(labels, said)
    assert believed <= 0.05 * 200


def test_a_judge_who_shares_the_users_taste_is_believed() -> None:
    labels = [make_label(region, at, at == 0) for region in range(40) for at in range(2)]
    assert trusts(labels, {one.label_id: 0.5 + 0.5 * one.desirable for one in labels})


def test_a_judge_who_prefers_a_seat_is_told_of() -> None:
    assert "whichever answer stands first" in decide(Measure("judge", "a", COIN, COIN, seat_bias=0.5)).because
    assert "whichever answer stands second" in decide(Measure("judge", "a", COIN, COIN, seat_bias=-0.4)).because
    assert "stands" not in decide(Measure("judge", "a", COIN, COIN, seat_bias=0.1)).because


@pytest.mark.parametrize(
    ("measure", "verdict"),
    [
        (None, "cannot_say"),
        (Measure("judge", "a", None, COIN), "no_evidence"),
        (Measure("judge", "a", None, None), "cannot_say"),
        (Measure("judge", "a", None, None, "unreadable"), "cannot_say"),
        (Measure("judge", "a", None, Estimate(0.9, 0.8, 1.0, 40, 60)), None),
        (Measure("reward_model", "a", None, COIN), "cannot_say"),
        (Measure("reward_model", "a", None, Estimate(0.9, 0.8, 1.0, 40, 60)), None),
    ],
    ids=["nobody", "coin", "untried", "unreadable", "good", "poor reward model", "good reward model"],
)
def test_what_no_comparison_would_change_is_known_before_training(measure: Measure | None, verdict: str | None) -> None:
    early = decide_early(measure)
    assert (early and early.verdict) == verdict


def test_whoever_interrupts_the_first_steps_ends_them() -> None:
    stop = threading.Event()
    watch = Watch(stop)
    watch.on_phase("loading")
    stop.set()
    with pytest.raises(Interrupted, match="training"):
        watch.on_phase("training")
