"""The shadow of a candidate, from its approval to its first users: what gateways say of it decides."""

from itertools import cycle
from typing import Any
from uuid import uuid4

import pytest

from shared.events import RolloutAdvanced
from tests.integration.deployer.scene import Setup

GROUPS = cycle(range(1_000))
FINE = {"failed": False, "refused": False, "words": 40, "seconds": 1.0}


@pytest.fixture
def shadowed(setup: Setup) -> Setup:
    setup.configure(shadow_percent=10, shadow_prompts=30)
    return setup


def compare(setup: Setup, rollout: dict[str, Any], count: int = 1, group: int | None = None, **candidate: Any) -> Any:
    """Report so many comparisons, as a gateway would, of users of their own or of one; returns the last answer."""
    for _ in range(count):
        body = {"comparison_id": str(uuid4()), "rollout_id": rollout["rollout_id"], "champion": FINE}
        body |= {"candidate": FINE | candidate, "user_group": next(GROUPS) if group is None else group}
        answer = setup.call("POST", "/v1/shadow-comparisons", role="internal", body=body)
        assert setup.call("POST", "/v1/shadow-comparisons", role="internal", body=body).json() == answer.json()
    return answer


def test_after_an_approval_the_candidate_is_asked_in_secret_and_then_gets_its_first_users(shadowed: Setup):
    rollout = shadowed.start_canary()
    table = shadowed.call("GET", "/v1/routing").json()
    assert (rollout["state"], rollout["stage"], rollout["summary"]) == (
        "canary", None, "the model is loaded; its shadow begins",
    )  # fmt: skip
    assert (table["canary"], table["shadow"]["percent"], table["rollout_id"]) == (None, 10.0, None)
    assert table["shadow"]["route"]["version"] == "2"
    assert compare(shadowed, rollout, 29).json() == {"wanted": True}
    shadowed.reconciler.reconcile()
    evidence = shadowed.load(rollout)["evidence"]
    assert (evidence["shadow"]["prompts"], evidence["summary"]) == (
        29,
        "1 more prompts needed in the shadow: of each user 2 count, and 29 asked so far",
    )
    compare(shadowed, rollout)
    shadowed.reconciler.reconcile()
    table = shadowed.call("GET", "/v1/routing").json()
    assert (shadowed.load(rollout)["stage"], table["canary"]["version"], table["shadow"]) == (0, "2", None)
    assert compare(shadowed, rollout).json() == {"wanted": False}
    announced = [(event.state, event.stage, event.routing.shadow is not None) for event in shadowed.announced()]
    assert announced[-2:] == [("canary", None, True), ("canary", 0, False)]


def test_a_candidate_that_fails_in_secret_is_ended_before_anybody_was_served_by_it(shadowed: Setup):
    rollout = shadowed.start_canary()
    compare(shadowed, rollout, 25, failed=True)
    shadowed.reconciler.reconcile()
    ended = shadowed.load(rollout)
    assert (ended["state"], "worse in its shadow: failures" in ended["summary"]) == ("aborted", True)
    table = shadowed.call("GET", "/v1/routing").json()
    assert (table["shadow"], table["canary"], table["champion"]["version"]) == (None, None, "1")
    assert ended["stages"] == []


def test_one_user_neither_ends_nor_passes_a_shadow_nor_takes_the_room_of_others(shadowed: Setup):
    rollout = shadowed.start_canary()
    compare(shadowed, rollout, 60, group=7, failed=True)
    shadowed.reconciler.reconcile()
    held = shadowed.load(rollout)
    assert (held["state"], held["evidence"]["shadow"]["prompts"]) == ("canary", 2)
    [failures] = [each for each in held["evidence"]["shadow"]["guardrails"] if each["name"] == "failures"]
    assert (failures["users"], failures["e_value"] < 2) == (1, True)
    compare(shadowed, rollout, 28)
    shadowed.reconciler.reconcile()
    assert shadowed.load(rollout)["stage"] == 0


def test_a_shadow_is_not_silent_while_prompts_come_that_count_for_nothing(shadowed: Setup):
    rollout = shadowed.start_canary()
    assert compare(shadowed, rollout, 2, group=7).json() == {"wanted": False}
    shadowed.clock.pass_seconds(3_600)
    assert compare(shadowed, rollout, group=7).json() == {"wanted": False}
    shadowed.reconciler.reconcile()
    shadow = shadowed.load(rollout)["evidence"]["shadow"]
    assert (shadow["prompts"], shadow["users"], shadow["last_at"]) == (2, 1, shadowed.clock().isoformat())


def test_what_gateways_of_before_compare_is_heard_and_counts_for_nothing(shadowed: Setup):
    rollout = shadowed.start_canary()
    shadowed.clock.pass_seconds(3_600)
    body = {"comparison_id": str(uuid4()), "rollout_id": rollout["rollout_id"], "champion": FINE, "candidate": FINE}
    answer = shadowed.call("POST", "/v1/shadow-comparisons", role="internal", body=body)
    assert (answer.status_code, answer.json()) == (200, {"wanted": True})
    shadowed.reconciler.reconcile()
    shadow = shadowed.load(rollout)["evidence"]["shadow"]
    assert (shadow["prompts"], shadow["last_at"]) == (0, shadowed.clock().isoformat())


def test_answers_of_another_length_wait_for_a_person_who_may_end_it(shadowed: Setup):
    rollout = shadowed.start_canary()
    compare(shadowed, rollout, 40, words=300)
    shadowed.reconciler.reconcile()
    held = shadowed.load(rollout)
    assert (held["state"], "held in its shadow: longer" in held["evidence"]["summary"]) == ("canary", True)
    path = f"/v1/rollouts/{rollout['rollout_id']}/abort"
    assert shadowed.call("POST", path, body={"reason": "it rambles"}).json()["state"] == "aborted"
    assert shadowed.call("GET", "/v1/routing").json()["shadow"] is None


def test_too_few_prompts_by_the_deadline_end_the_shadow(shadowed: Setup):
    rollout = shadowed.start_canary()
    compare(shadowed, rollout, 3)
    shadowed.clock.pass_seconds(15 * 86_400)
    shadowed.reconciler.reconcile()
    ended = shadowed.load(rollout)
    assert ended["summary"].startswith("undecided after 14 days in its shadow: 27 more prompts needed in the shadow")


def test_a_paused_shadow_decides_nothing_and_goes_on_where_it_was(shadowed: Setup):
    rollout = shadowed.start_canary()
    compare(shadowed, rollout, 40)
    for command, stage in (("pause", None), ("resume", 0)):
        shadowed.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/{command}", body={"reason": "lunch"})
        shadowed.reconciler.reconcile()
        assert shadowed.load(rollout)["stage"] == stage


def test_a_byte_that_changes_during_the_shadow_voids_the_approval(shadowed: Setup):
    rollout = shadowed.start_canary()
    compare(shadowed, rollout, 40)
    (shadowed.candidates / "2" / "model.safetensors").write_bytes(b"other weights")
    shadowed.reconciler.reconcile()
    ended = shadowed.load(rollout)
    assert (ended["state"], "changed after it was approved" in ended["summary"]) == ("aborted", True)
    assert shadowed.call("GET", "/v1/routing").json()["shadow"] is None


def test_a_freeze_keeps_a_shadow_from_its_first_users_and_a_slow_load_after_it_is_forgiven(shadowed: Setup):
    rollout = shadowed.start_canary()
    shadowed.clock.pass_seconds(2 * 86_400)  # longer than a model may take to load
    compare(shadowed, rollout, 40)
    url, shadowed.serving.urls[1] = shadowed.serving.urls[1], "http://127.0.0.1:1/v1"
    shadowed.reconciler.reconcile()
    assert (shadowed.load(rollout)["state"], shadowed.load(rollout)["stage"]) == ("canary", None)
    shadowed.serving.urls[1] = url
    shadowed.reconciler.reconcile()
    assert shadowed.load(rollout)["stage"] == 0


def test_a_champion_that_is_rolled_back_ends_the_shadow_of_who_was_judged_against_it(shadowed: Setup):
    shadowed.configure(shadow_percent=0)
    shadowed.serving.urls[0] = shadowed.serving.urls[1]
    first = shadowed.start_canary()
    path = f"/v1/rollouts/{first['rollout_id']}/promote"
    assert shadowed.call("POST", path, body={"reason": "sure"}).json()["state"] == "champion"
    shadowed.configure(shadow_percent=10)
    shadowed.register_candidate("3")
    second = shadowed.open_rollout(candidate_version="3", champion_version="2")
    shadowed.approve(second)
    shadowed.reconciler.reconcile()
    table = shadowed.call("GET", "/v1/routing").json()
    assert (table["shadow"]["route"]["version"], table["holdback"]["version"]) == ("3", "1")
    for number in range(150):
        shadowed.vote(first, canary=number % 2 == 0, up=number % 2 == 1, user=f"user-{number}")
    shadowed.reconciler.reconcile()
    assert shadowed.load(first)["state"] == "rolled_back"
    shadowed.reconciler.reconcile()
    ended = shadowed.load(second)
    assert (ended["state"], ended["summary"]) == ("aborted", "judged against version 2, and 1 is champion now")
    announced = [event for event in shadowed.announced() if isinstance(event, RolloutAdvanced)]
    assert (announced[-1].routing.shadow, announced[-1].routing.champion.version) == (None, "1")


@pytest.mark.parametrize(
    "changes",
    [{"words": -1}, {"seconds": "fast"}, {"text": "what was said"}],
    ids=["a length below 0", "a time that is none", "a text"],
)
def test_what_is_no_comparison_is_refused_with_its_field_named(shadowed: Setup, changes: dict[str, Any]):
    rollout = shadowed.start_canary()
    body = {"comparison_id": str(uuid4()), "rollout_id": rollout["rollout_id"], "champion": FINE, "user_group": 1}
    answer = shadowed.call("POST", "/v1/shadow-comparisons", role="internal", body=body | {"candidate": FINE | changes})
    assert answer.status_code == 422
    assert next(iter(changes)) in answer.text
