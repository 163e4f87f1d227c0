"""The bound of what a promoted version may have lost: wrong in few runs whenever one looks, and there in time."""

import numpy as np
import pytest

from services.deployer.domain.approval_policy import ApprovalPolicy, PolicyFacts, find_objections
from services.deployer.domain.guardrails import BOUNDS, StageEvidence
from services.deployer.domain.notices import KINDS, calculate_backoff, describe_notice
from services.deployer.domain.outcomes import UserOutcome
from shared.events import GateResult
from tests.unit.deployer.limits import make_limits

ALPHA = 0.05
LIMITS = make_limits()


def find_bounds(champion: float, canary: float, *, runs: int, users: int, holdback: float, seed: int) -> list[float]:
    """Return the least loss that was ruled out at any time of each run; 1 for none."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(runs):
        evidence = StageEvidence(LIMITS, canary_share=1 - holdback, is_promoted=True)
        for is_held_back in rng.random(users) < holdback:
            pleased = float(rng.random() < (champion if is_held_back else canary))
            evidence.add(UserOutcome("champion" if is_held_back else "canary", pleased))
        bound = evidence.find_bound(ALPHA)
        found.append(1.0 if bound is None else bound)
    return found


@pytest.mark.parametrize("loss", [0.05, 0.1])
def test_a_loss_that_is_true_is_ruled_out_in_few_runs(loss: float):
    """Claim: at most alpha of them, however often one looks; of 80 runs up to 10 are within chance (p = .005)."""
    bounds = find_bounds(0.8, 0.8 - loss, runs=80, users=150, holdback=0.5, seed=11)
    assert sum(bound <= loss for bound in bounds) <= 10


def test_a_better_version_is_confirmed_within_some_hundred_users():
    bounds = find_bounds(0.6, 0.85, runs=10, users=400, holdback=0.3, seed=12)
    assert sum(bound <= LIMITS.delta for bound in bounds) >= 8


def test_nothing_is_ruled_out_before_anybody_spoke_nor_while_a_canary_has_its_stages():
    assert StageEvidence(LIMITS, is_promoted=True).find_bound(ALPHA) is None
    assert StageEvidence(LIMITS).find_bound(ALPHA) is None
    assert LIMITS.delta in StageEvidence(LIMITS, is_promoted=True).bounds
    assert tuple(sorted(BOUNDS)) == BOUNDS


def gate(name: str = "win_rate", verdict: str = "pass", low: float | None = 0.6, blocks: bool = True) -> GateResult:
    return GateResult(name=name, verdict=verdict, summary="", low=low, blocks=blocks)  # type: ignore[arg-type]


POLICY = ApprovalPolicy(least_effect=0.55, per_week=2, veto_seconds=60)


@pytest.mark.parametrize(
    ("facts", "objections"),
    [
        (PolicyFacts([gate()], 0), []),
        (PolicyFacts([gate(), gate("length", "fail", blocks=False)], 1), []),
        (PolicyFacts([gate(), gate("safety", "inconclusive")], 0), ["gate safety: inconclusive"]),
        (PolicyFacts([gate(low=0.55)], 0), ["win_rate: from 0.55, not above 0.55"]),
        (PolicyFacts([gate("safety")], 0), ["no gate win_rate with an interval"]),
        (PolicyFacts([gate()], 2), ["2 were approved within a week, 2 are allowed"]),
        (PolicyFacts([gate()], 0, "7"), ["the holdback has not confirmed version 7 yet"]),
        (PolicyFacts([gate()], 0, None, ["lag", "errors"]), ["alarm: lag", "alarm: errors"]),
    ],
)
def test_a_policy_names_all_that_stands_in_the_way(facts: PolicyFacts, objections: list[str]):
    assert find_objections(POLICY, facts) == objections


def test_pauses_between_deliveries_grow_to_an_hour():
    assert [calculate_backoff(attempt) for attempt in (1, 2, 3, 10, 11, 10_000)] == [5, 10, 20, 2560, 3600, 3600]


@pytest.mark.parametrize("kind", KINDS)
def test_every_notice_names_its_version(kind: str):
    assert "7" in describe_notice(kind, candidate="7", champion="6", at="noon")  # type: ignore[arg-type]
