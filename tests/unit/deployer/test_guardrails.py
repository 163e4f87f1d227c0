"""What each guardrail is fed with, how alpha is divided, and how long a stage will take."""

import itertools

import numpy as np
import pytest

from services.deployer.domain.arms import Arm
from services.deployer.domain.forecast import Effect, Traffic, add_up, forecast_stage
from services.deployer.domain.guardrails import StageEvidence, derive_shortfall
from services.deployer.domain.outcomes import UserOutcome
from tests.unit.deployer.limits import make_limits

LIMITS = make_limits()


def read(evidence: StageEvidence, name: str, *, exposed: dict[Arm, int] | None = None, share: float = 0.5):
    readings = evidence.read(exposed or {"champion": 1, "canary": 1}, share)
    return next(reading for reading in readings if reading.name == name)


def play(rounds: int = 300, *, canary: dict[str, object], champion: dict[str, object] | None = None) -> StageEvidence:
    """One champion and one canary user in turn; the champion's are pleased, served in 1 to 2 s, and never fail."""
    evidence = StageEvidence(LIMITS)
    for number in range(rounds):
        usual: dict[str, object] = {"value": float(number % 5 > 0), "seconds": 1 + number % 10 / 10}
        evidence.add(UserOutcome("champion", **usual | (champion or {})))  # type: ignore[arg-type]
        evidence.add(UserOutcome("canary", **usual | canary))  # type: ignore[arg-type]
    return evidence


def test_alpha_is_divided_over_the_guardrails_that_roll_back_the_breaker_and_the_start_points():
    acting = [guardrail for guardrail in LIMITS.guardrails if guardrail.action == "roll_back"]
    shared = sum(LIMITS.calculate_alpha(guardrail) for guardrail in acting)
    looks = 2 * sum(LIMITS.calculate_breaker_level(look) for look in range(20_000))  # of the stages, of the holdback
    assert 0.99 * LIMITS.alpha < shared + looks <= LIMITS.alpha
    started = sum(LIMITS.schedule.weigh_start(block) for block in range(0, 1_000_000, LIMITS.schedule.spacing))
    assert 0.98 < started * (len(LIMITS.stages) + 1) <= 1


def test_a_small_stage_needs_little_and_the_last_before_everybody_the_full_alpha():
    assert [LIMITS.calculate_advance_alpha(stage) for stage in range(4)] == pytest.approx([0.5, 0.1, 0.05, 1.0])
    assert make_limits(stages=[1, 50, 100]).calculate_advance_alpha(0) == 1.0


def test_arms_that_do_the_same_breach_nothing():
    assert not any(reading.is_breached for reading in play(canary={}).read({"champion": 300, "canary": 300}, 0.5))


@pytest.mark.parametrize(
    ("canary", "name"),
    [
        ({"value": 0.2}, "outcome"),
        ({"failed": 0.3}, "errors"),
        ({"seconds": 4.0}, "latency"),
        ({"is_harmed": True}, "harmful_complaints"),
        ({"value": None}, "response_rate"),
    ],
)
def test_each_kind_of_harm_is_found_by_its_own_guardrail_alone(canary: dict[str, object], name: str):
    found = play(canary=canary).read({"champion": 300, "canary": 300}, 0.5)
    assert [reading.name for reading in found if reading.is_breached] == [name]


def test_an_outage_of_both_arms_is_no_harm_of_the_canarys():
    assert not read(play(canary={"failed": 0.6}, champion={"failed": 0.6}), "errors").is_breached


def test_users_who_come_to_one_arm_only_hold_the_stage():
    reading = read(play(canary={}), "sample_ratio", exposed={"champion": 400, "canary": 100})
    assert (reading.is_breached, reading.action) == (True, "hold")


def test_shares_as_meant_hold_some_stage_of_a_rollout_at_most_at_the_guardrails_alpha():
    """Looked at every 60 users of five stages; where each stage had the whole alpha anew, it was 3.2%."""
    rng, rollouts = np.random.default_rng(31), 600
    alpha = LIMITS.calculate_alpha(next(each for each in LIMITS.guardrails if each.name == "sample_ratio"))
    shares = [LIMITS.calculate_canary_share(stage) for stage in range(len(LIMITS.stages) + 1)]
    evidence, held = StageEvidence(LIMITS), np.zeros(rollouts, bool)
    for share in shares:
        canary = rng.binomial(60, share, (rollouts, 30)).cumsum(axis=1)
        for run, look in itertools.product(range(rollouts), range(30)):
            users, of_canary = 60 * (look + 1), int(canary[run, look])
            exposed: dict[Arm, int] = {"champion": users - of_canary, "canary": of_canary}
            held[run] |= read(evidence, "sample_ratio", exposed=exposed, share=share).is_breached
    assert held.mean() <= alpha


def test_the_sample_ratio_of_a_rollout_of_before_weighs_what_it_was_opened_with():
    exposed: dict[Arm, int] = {"champion": 220, "canary": 180}
    weighed = [
        read(StageEvidence(make_limits(breaker_alpha_share=share)), "sample_ratio", exposed=exposed).e_value
        for share in (0.0, 0.1)
    ]
    assert weighed[1] == pytest.approx(weighed[0] * LIMITS.stage_weight)


def test_a_latency_is_judged_by_the_champions_own_and_not_by_those_that_set_the_mark():
    evidence = play(40, canary={"seconds": 99.0})
    assert evidence.yardstick.seconds is None
    assert read(evidence, "latency").champion is None


def test_latencies_are_not_compared_where_the_canary_has_most_of_the_load():
    evidence = StageEvidence(LIMITS, canary_share=0.95)
    for number in range(200):
        evidence.add(UserOutcome("champion", 1.0, seconds=1.0))
        evidence.add(UserOutcome("canary", 1.0, seconds=9.0 + number))
    assert not read(evidence, "latency").is_breached


def test_the_shortfall_of_a_candidate_worse_by_delta_is_the_champions():
    for share in (1.0, 0.2):
        canary, champion = _mean_shortfall("canary", 0.8 - LIMITS.delta, share), _mean_shortfall("champion", 0.8, share)
        assert canary == pytest.approx(champion)
        assert _mean_shortfall("canary", 0.8, share) < champion


def _mean_shortfall(arm: Arm, rate: float, share: float) -> float:
    said = rate * derive_shortfall(UserOutcome(arm, 1.0), LIMITS)
    said += (1 - rate) * derive_shortfall(UserOutcome(arm, 0.0), LIMITS)
    return share * said + (1 - share) * derive_shortfall(UserOutcome(arm, None), LIMITS)


def test_every_value_that_a_test_gets_is_in_its_range():
    for arm, value in itertools.product(("champion", "canary"), (None, 0.0, 0.25, 0.5, 1.0)):
        assert 0 <= derive_shortfall(UserOutcome(arm, value), LIMITS) <= 1  # type: ignore[arg-type]


TRAFFIC = Traffic(users_per_second=0.1, response_rate=1.0, variance=0.16)


def test_a_forecast_is_longer_for_a_smaller_stage_a_worse_candidate_and_less_traffic():
    usual = forecast_stage(TRAFFIC, Effect(), share=0.5, alpha=0.05, delta=0.05)
    assert usual[0] < usual[1] < usual[2]  # type: ignore[operator]
    slower = [
        forecast_stage(TRAFFIC, Effect(), share=0.05, alpha=0.05, delta=0.05),
        forecast_stage(TRAFFIC, Effect(-0.03), share=0.5, alpha=0.05, delta=0.05),
        forecast_stage(Traffic(0.01, 1.0, 0.16), Effect(), share=0.5, alpha=0.05, delta=0.05),
    ]
    assert all(other[1] > usual[1] for other in slower)  # type: ignore[operator]


def test_what_never_decides_is_said_and_what_needs_no_evidence_takes_no_time():
    assert forecast_stage(TRAFFIC, Effect(-0.1), share=0.5, alpha=0.05, delta=0.05) == [None] * 3
    assert forecast_stage(Traffic(0.0, 1.0, 0.16), Effect(), share=0.5, alpha=0.05, delta=0.05) == [None] * 3
    assert forecast_stage(TRAFFIC, Effect(), share=1.0, alpha=1.0, delta=0.05) == [0.0] * 3
    doubtful = forecast_stage(TRAFFIC, Effect(-0.05, 0.02), share=0.5, alpha=0.05, delta=0.05)
    assert doubtful[0] is not None
    assert doubtful[2] is None
    assert add_up([[1.0, 2.0, 3.0], [1.0, 2.0, None]]) == [2.0, 4.0, None]


def test_a_forecast_is_kept_by_what_it_forecasts():
    """The share of simulated stages that have decided by each quantile is at least about that quantile."""
    from services.deployer.domain.evidence import Detector

    rng, needed = np.random.default_rng(8), 10.0
    forecast = forecast_stage(TRAFFIC, Effect(0.05), share=0.5, alpha=1 / needed, delta=0.05)
    blocks = [seconds * 0.05 for seconds in forecast if seconds is not None]
    decided = []
    for _ in range(60):
        detector = Detector()
        while detector.e_value < needed and detector.blocks < 4 * blocks[2]:
            detector.add("champion", derive_shortfall(UserOutcome("champion", float(rng.random() < 0.8)), LIMITS))
            detector.add("canary", derive_shortfall(UserOutcome("canary", float(rng.random() < 0.85)), LIMITS))
        decided.append(detector.blocks)
    assert 0.1 <= np.mean(np.array(decided) <= blocks[0]) <= 0.7
    assert np.mean(np.array(decided) <= blocks[2]) >= 0.7
