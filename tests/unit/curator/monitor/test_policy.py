"""When the monitor asks, and how a request ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.curator.monitor.domain.policy import RetrainLimits, Situation, assess_schedule, decide
from services.curator.requests.domain import RequestProgress, derive_outcome
from shared.events import Reason

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIMITS = RetrainLimits(cooldown=HOUR, monthly_budget=30, minimum_pairs=20, shadow=False)
VOLUME = Reason(kind="volume", summary="214 new preference pairs since the last dataset (threshold 200)", value=214)
READY = Situation(
    reasons=[VOLUME],
    champion_version="3",
    paused=False,
    open_request=False,
    last_closed_at=NOW - 2 * HOUR,
    requests_this_month=4,
    pairs=900,
    new_pairs=214,
)


def test_a_reason_with_enough_evidence_leads_to_a_request_in_its_words():
    decision = decide(READY, LIMITS, NOW)
    assert (decision.action, decision.summary) == ("request", VOLUME.summary)


def test_without_a_reason_it_waits():
    assert decide(replace(READY, reasons=[]), LIMITS, NOW).summary == "no reason to retrain"


@pytest.mark.parametrize(
    "situation, summary",
    [
        (replace(READY, paused=True), "the loop is paused"),
        (replace(READY, champion_version=None), "no champion is known"),
        (replace(READY, open_request=True), "a request is open"),
        (replace(READY, last_closed_at=NOW - HOUR / 2), "1800 s of cooldown are left"),
        (replace(READY, requests_this_month=30), "the budget of 30 trainings in 30 days is spent"),
        (replace(READY, pairs=19), "19 pairs are too few to train on (at least 20)"),
        (replace(READY, new_pairs=0), "no pair is new since the last dataset"),
    ],
)
def test_an_obstacle_is_named_beside_the_reason(situation: Situation, summary: str):
    decision = decide(situation, LIMITS, NOW)
    assert decision.action == "wait"
    assert summary in decision.summary
    assert decision.summary.endswith(f"although: {VOLUME.summary}")


def test_the_first_request_and_one_at_the_end_of_the_cooldown_are_free():
    assert decide(replace(READY, last_closed_at=None), LIMITS, NOW).action == "request"
    assert decide(replace(READY, last_closed_at=NOW - HOUR), LIMITS, NOW).action == "request"


def test_shadow_mode_says_what_it_would_have_asked():
    decision = decide(READY, replace(LIMITS, shadow=True), NOW)
    assert (decision.action, decision.summary) == ("shadow", f"shadow mode, would have asked: {VOLUME.summary}")


def test_the_schedule_is_due_when_its_interval_has_passed_or_nothing_was_ever_asked():
    assert assess_schedule(NOW - HOUR, 2 * HOUR, NOW) is None
    assert assess_schedule(None, HOUR, NOW) is not None
    due = assess_schedule(NOW - 2 * HOUR, HOUR, NOW)
    assert due is not None
    assert due.summary == "scheduled retraining: the last was asked for 2.0 h ago"


@pytest.mark.parametrize(
    "progress, outcome",
    [
        (RequestProgress([], None, None, None), None),
        (RequestProgress(["running"], None, None, None), None),
        (RequestProgress(["failed"], None, None, None), "training_failed"),
        (RequestProgress(["cancelled"], None, None, None), "training_cancelled"),
        (RequestProgress(["succeeded"], None, None, "4"), None),
        (RequestProgress(["failed", "running"], None, None, None), None),
        (RequestProgress(["failed", "succeeded"], None, None, None), None),
        (RequestProgress(["cancelled", "failed"], None, None, None), "training_failed"),
        (RequestProgress(["succeeded"], "inconclusive", None, "4"), "evaluation_inconclusive"),
        (RequestProgress(["succeeded"], "fail", None, "4"), "evaluation_fail"),
        (RequestProgress(["succeeded"], "pass", None, "4"), None),
        (RequestProgress(["succeeded"], "pass", "canary", "4"), None),
        (RequestProgress(["succeeded"], "pass", "paused", "4"), None),
        (RequestProgress(["succeeded"], "pass", "champion", "4"), "champion"),
        (RequestProgress(["succeeded"], "pass", "rolled_back", "4"), "rolled_back"),
    ],
)
def test_a_request_ends_as_what_it_led_to_ended(progress: RequestProgress, outcome: str | None):
    assert derive_outcome(progress) == outcome
