"""Two admins who act at once: one of them wins, whole, and the other is told."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.deployer.scene import Setup


def act_at_once(*acts: Callable[[], Any]) -> list[int]:
    """Return the status of each act, all begun at the same time."""
    gate, statuses = threading.Barrier(len(acts)), [0] * len(acts)

    def run(place: int) -> None:
        gate.wait()
        statuses[place] = acts[place]().status_code

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def command(setup: Setup, rollout: dict[str, Any], name: str) -> Callable[[], Any]:
    path = f"/v1/rollouts/{rollout['rollout_id']}/{name}"
    return lambda: setup.call("POST", path, body={"reason": f"my {name}"})


def list_acts(setup: Setup) -> list[str]:
    log = setup.call("GET", "/v1/audit").json()
    assert log["verified"]
    return [entry["action"] for entry in log["entries"]]


@pytest.mark.parametrize("turn", range(3))
def test_of_two_approvals_and_a_rejection_at_once_one_stands(setup: Setup, turn: int):
    rollout = setup.open_rollout()
    approve = lambda: setup.approve(rollout)  # noqa: E731
    statuses = act_at_once(approve, approve, command(setup, rollout, "reject"))
    assert sorted(statuses) == [200, 409, 409]
    won = "rejected" if statuses[2] == 200 else "canary"
    assert setup.load(rollout)["state"] == won
    acts = list_acts(setup)
    assert acts.count("approve") + acts.count("reject") == 1


def test_of_two_candidates_approved_at_once_one_has_the_canary(setup: Setup):
    setup.register_candidate("3")
    one, other = setup.open_rollout(), setup.open_rollout(candidate_version="3")
    statuses = act_at_once(lambda: setup.approve(one), lambda: setup.approve(other))
    assert sorted(statuses) == [200, 409]
    setup.reconciler.reconcile()
    assert setup.call("GET", "/v1/routing").json()["canary"]["version"] == ("2" if statuses[0] == 200 else "3")


def test_a_promotion_and_an_abort_at_once_leave_one_champion_and_no_canary(setup: Setup):
    rollout = setup.start_canary()
    statuses = act_at_once(command(setup, rollout, "promote"), command(setup, rollout, "abort"))
    assert sorted(statuses) == [200, 409]
    table = setup.call("GET", "/v1/routing").json()
    is_promoted = statuses[0] == 200
    assert table["champion"]["version"] == ("2" if is_promoted else "1")
    assert table.get("canary") is None
    assert setup.load(rollout)["state"] == ("champion" if is_promoted else "aborted")


def test_two_rollbacks_to_one_version_at_once_go_back_once(setup: Setup):
    """Who names no version goes back by one from what he finds: after another's rollback that is one further."""
    del setup.serving.urls[0]
    setup.register_candidate("3")
    for version, champion in (("2", "1"), ("3", "2")):
        rollout = setup.open_rollout(candidate_version=version, champion_version=champion)
        setup.approve(rollout)
        setup.reconciler.reconcile()
        assert command(setup, rollout, "promote")().status_code == 200
    back = lambda: setup.call("POST", "/v1/rollback", body={"reason": "odd", "version": "2"})  # noqa: E731
    assert sorted(act_at_once(back, back)) == [200, 409]
    assert setup.call("GET", "/v1/routing").json()["champion"]["version"] == "2"
    assert list_acts(setup).count("roll_back") == 1
