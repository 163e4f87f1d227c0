"""Two pairs of eyes, times in which nothing moves forward, and a policy in an admin's place."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from local.roles import list_grants
from shared.accounts import disable_account
from shared.registry import ModelVersion
from shared.service_access import DATABASE_ROLES
from shared.tables.access import Account
from shared.tables.curator import LoopSwitch
from shared.tables.deployer import ApprovalPolicyRow, Rollout, RoutingEpoch
from tests.integration.deployer.scene import Setup
from tests.integration.deployer.test_guardrails import look, serve, usual

POLICY: dict[str, Any] = {"least_effect": 0.55, "per_week": 2, "veto_seconds": 60.0, "reason": "summer"}


def actions(setup: Setup) -> list[tuple[str, str]]:
    log = setup.call("GET", "/v1/audit").json()
    assert log["verified"]
    return [(line["actor"], line["action"]) for line in log["entries"]]


# four eyes


def test_two_different_people_must_approve_and_a_key_cannot(setup: Setup):
    setup.configure(approvals=2)
    setup.sign_in("ada", "bela")
    rollout = setup.open_rollout()
    refused = setup.approve(rollout)
    assert (refused.status_code, refused.json()["title"]) == (403, "Needs another approver")
    first = setup.approve(rollout, role="ada").json()
    assert (first["state"], first["summary"]) == (
        "awaiting_approval",
        "approved by ada; a second admin has to approve it too",
    )
    setup.reconciler.reconcile()
    assert setup.load(rollout)["stage"] is None
    assert setup.approve(rollout, role="ada").status_code == 403
    second = setup.approve(rollout, role="bela").json()
    assert (second["state"], second["approved_by"]) == ("canary", "ada and bela")
    assert [each["name"] for each in second["evidence"]["approvals"]] == ["ada", "bela"]
    assert actions(setup)[-2:] == [("ada", "approve"), ("bela", "approve")]


def test_the_approval_of_an_admin_who_is_none_any_more_does_not_count(setup: Setup):
    setup.configure(approvals=2)
    setup.sign_in("ada", "bela", "carl")
    rollout = setup.open_rollout()
    setup.approve(rollout, role="ada")
    with setup.sessions() as session, session.begin():
        ada = session.query(Account).filter_by(name="ada").one().account_id
        disable_account(session, ada)
    assert setup.approve(rollout, role="bela").json()["state"] == "awaiting_approval"
    assert setup.approve(rollout, role="carl").json()["approved_by"] == "bela and carl"


def test_a_byte_that_changes_between_two_approvals_voids_the_first(setup: Setup):
    setup.configure(approvals=2)
    setup.sign_in("ada", "bela")
    rollout = setup.open_rollout()
    setup.approve(rollout, role="ada")
    (setup.candidates / "2" / "model.safetensors").write_bytes(b"others")
    void = setup.approve(rollout, role="bela")
    assert (void.status_code, void.json()["title"]) == (409, "Approval void")
    assert setup.load(rollout)["state"] == "awaiting_approval"


def test_four_eyes_hold_for_a_rollout_that_was_opened_under_them(setup: Setup):
    setup.configure(approvals=2)
    setup.sign_in("ada")
    rollout = setup.open_rollout()
    setup.configure(approvals=1)
    assert setup.approve(rollout, role="ada").json()["state"] == "awaiting_approval"


# freeze windows


def freeze(setup: Setup, seconds: float = 7_200) -> datetime:
    begins = setup.clock() - timedelta(hours=1)
    ends = (setup.clock() + timedelta(seconds=seconds)).replace(second=0, microsecond=0)
    setup.configure(freeze_windows=f"{begins:%Y-%m-%d %H:%M} - {ends:%Y-%m-%d %H:%M} UTC")
    return ends


def test_in_a_freeze_an_approved_rollout_waits_and_everything_says_until_when(setup: Setup):
    until = freeze(setup)
    rollout = setup.open_rollout()
    approved = setup.approve(rollout).json()
    assert approved["summary"].endswith(f"frozen until {until:%Y-%m-%d %H:%M} UTC")
    setup.reconciler.reconcile()
    found = setup.load(rollout)
    assert (found["state"], found["stage"]) == ("canary", None)
    assert found["evidence"]["frozen_until"] == until.isoformat()
    listed = setup.call("GET", "/v1/rollouts").json()["frozen_until"]
    assert datetime.fromisoformat(listed) == until
    setup.clock.at = until + timedelta(seconds=1)
    setup.reconciler.reconcile()
    assert setup.load(rollout)["stage"] == 0


def test_a_model_that_does_not_load_after_a_freeze_has_its_whole_time(setup: Setup):
    until = freeze(setup)
    rollout = setup.open_rollout()
    setup.approve(rollout)
    setup.reconciler.reconcile()
    del setup.serving.urls[1]  # nobody answers there
    setup.clock.at = until + timedelta(seconds=1)
    assert look(setup, rollout)["state"] == "canary"
    setup.clock.pass_seconds(301)
    assert look(setup, rollout)["state"] == "aborted"


def test_a_stage_that_has_decided_waits_for_the_end_of_a_freeze(setup: Setup):
    rollout = setup.start_canary()
    serve(setup, rollout, 20, champion=lambda number: {"up": number % 2 > 0}, canary=lambda n: {"up": True}, beside=3)
    setup.clock.pass_seconds(11)
    until = freeze(setup)
    assert (look(setup, rollout)["stage"], setup.load(rollout)["evidence"]["frozen_until"]) == (0, until.isoformat())
    refused = setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "now"})
    assert refused.status_code == 409
    assert f"frozen until {until:%Y-%m-%d %H:%M} UTC" in refused.json()["detail"]
    setup.clock.at = until
    assert look(setup, rollout)["stage"] == 1


@pytest.mark.parametrize("way", ["abort", "rollback", "harm"])
def test_the_way_back_is_never_frozen(setup: Setup, way: str):
    rollout = setup.start_canary()
    if way == "rollback":
        setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    freeze(setup)
    if way == "harm":
        serve(setup, rollout, 60, champion=usual, canary=lambda number: {"up": False})
        assert look(setup, rollout)["state"] == "rolled_back"
    else:
        path = "/v1/rollback" if way == "rollback" else f"/v1/rollouts/{rollout['rollout_id']}/abort"
        assert setup.call("POST", path, body={"reason": "odd"}).status_code == 200
    assert setup.call("GET", "/v1/routing").json()["champion"]["version"] == "1"


# the approval policy


def set_policy(setup: Setup, *, role: str = "ada", **changes: Any) -> Any:
    return setup.call("POST", "/v1/approval-policy", role=role, body=POLICY | changes)


def describe(setup: Setup) -> dict[str, Any]:
    return dict(setup.call("GET", "/v1/approval-policy", role="ops").json())


@pytest.fixture
def governed(setup: Setup) -> Setup:
    """A deployer with a policy that ada has signed."""
    del setup.serving.urls[0]
    setup.sign_in("ada", "bela")
    assert describe(setup)["not_in_force"] == "none was ever set"
    answer = set_policy(setup)
    assert (answer.status_code, answer.json()["not_in_force"]) == (201, None)
    return setup


def test_a_policy_announces_itself_and_approves_after_the_time_for_a_veto(governed: Setup):
    rollout = governed.open_rollout(low=0.6)
    announced = look(governed, rollout)
    assert announced["state"] == "awaiting_approval"
    due = governed.clock() + timedelta(seconds=60)
    assert announced["evidence"]["policy"] == {"version": 1, "objections": [], "approves_at": due.isoformat()}
    governed.clock.pass_seconds(59)
    assert look(governed, rollout)["state"] == "awaiting_approval"
    governed.clock.pass_seconds(1)
    approved = look(governed, rollout)
    assert (approved["state"], approved["approved_by"]) == ("canary", "approval policy 1 (ada)")
    assert look(governed, rollout)["stage"] == 0
    assert [each for each in actions(governed) if each[1] in ("set_approval_policy", "approve")] == [
        ("ada", "set_approval_policy"),
        ("approval policy 1 (ada)", "approve"),
    ]


@pytest.mark.parametrize(
    ("gate", "objection"),
    [
        ({"low": 0.55}, "win_rate: from 0.55, not above 0.55"),
        ({}, "no gate win_rate with an interval"),
    ],
)
def test_what_is_not_clear_enough_waits_for_a_person(governed: Setup, gate: dict[str, Any], objection: str):
    rollout = governed.open_rollout(**gate)
    look(governed, rollout)
    governed.clock.pass_seconds(3_600)
    found = look(governed, rollout)
    assert (found["state"], found["evidence"]["policy"]["objections"]) == ("awaiting_approval", [objection])
    assert governed.approve(rollout, role="bela").json()["state"] == "canary"


def pause_loop(setup: Setup) -> None:
    with setup.sessions() as session, session.begin():
        session.add(LoopSwitch(id=1, paused=True, actor="ada", at=setup.clock()))


def restore_backup(setup: Setup) -> None:
    with setup.sessions() as session, session.begin():
        session.add(RoutingEpoch(epoch=7, reason="restored"))


def forge(setup: Setup) -> None:
    with setup.sessions() as session, session.begin():
        session.execute(update(ApprovalPolicyRow).values(policy={**POLICY, "per_week": 50}))


def dismiss(setup: Setup) -> None:
    with setup.sessions() as session, session.begin():
        session.execute(update(Account).where(Account.name == "ada").values(role="ops"))


def stop(setup: Setup) -> None:
    assert setup.call("POST", "/v1/approval-policy/stop", body={"reason": "we look ourselves"}).status_code == 200


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (stop, "stopped by admin-anna"),
        (restore_backup, "a backup was restored since it was set"),
        (forge, "its signature is not that of today's key"),
        (dismiss, "ada, who signed it, is no admin any more"),
    ],
)
def test_from_then_on_a_policy_approves_nothing(governed: Setup, happens: Any, why: str):
    rollout = governed.open_rollout(low=0.6)
    look(governed, rollout)
    happens(governed)
    governed.clock.pass_seconds(3_600)
    assert look(governed, rollout)["state"] == "awaiting_approval"
    assert describe(governed)["not_in_force"] == why


def pause_rollout(setup: Setup) -> None:
    [rollout] = setup.call("GET", "/v1/rollouts").json()["rollouts"]
    path = f"/v1/rollouts/{rollout['rollout_id']}/pause"
    assert setup.call("POST", path, body={"reason": "I want to look"}).status_code == 200


def set_policy_anew(setup: Setup) -> None:
    assert set_policy(setup, role="bela").status_code == 201


@pytest.mark.parametrize("happens", [stop, restore_backup, dismiss, pause_loop, pause_rollout, set_policy_anew])
def test_what_happens_while_the_bytes_are_verified_stops_a_policy_too(governed: Setup, happens: Any):
    rollout = governed.open_rollout(low=0.6)
    look(governed, rollout)
    governed.clock.pass_seconds(3_600)
    files, verified = governed.binding.files, []

    class SlowFiles:
        """Verifies files as they are, and takes so long over it that somebody acts meanwhile."""

        def check(self, version: ModelVersion) -> None:
            files.check(version)
            verified.append(version.version)
            happens(governed)

    object.__setattr__(governed.binding, "files", SlowFiles())
    found = look(governed, rollout)
    assert verified == ["2"]
    assert (found["approved_by"], found["stage"]) == (None, None)
    assert ("approval policy 1 (ada)", "approve") not in actions(governed)


@pytest.mark.parametrize("veto", ["pause", "reject"])
def test_an_admin_vetoes_by_pausing_or_rejecting(governed: Setup, veto: str):
    rollout = governed.open_rollout(low=0.6)
    look(governed, rollout)
    path = f"/v1/rollouts/{rollout['rollout_id']}"
    governed.call("POST", f"{path}/{veto}", body={"reason": "I want to look"})
    governed.clock.pass_seconds(3_600)
    assert look(governed, rollout)["approved_by"] is None
    if veto == "pause":
        governed.call("POST", f"{path}/resume", body={"reason": "fine"})
        assert look(governed, rollout)["state"] == "awaiting_approval"  # with a veto window anew
        governed.clock.pass_seconds(60)
        assert look(governed, rollout)["state"] == "canary"


def test_an_alarm_or_a_paused_loop_keeps_the_policy_from_approving(governed: Setup):
    rollout = governed.open_rollout(low=0.6)
    alarms = ["HeliotropeSilentButton"]
    object.__setattr__(governed.reconciler, "list_alarms", lambda: alarms)
    assert look(governed, rollout)["evidence"]["policy"]["objections"] == ["alarm: HeliotropeSilentButton"]
    alarms.clear()
    pause_loop(governed)
    assert look(governed, rollout)["evidence"]["policy"]["objections"] == ["alarm: the loop is paused"]


def test_no_more_than_so_many_in_a_week(governed: Setup):
    set_policy(governed, per_week=1, needs_confirmation=False)
    first = governed.open_rollout(low=0.6)
    look(governed, first)
    governed.clock.pass_seconds(61)
    assert look(governed, first)["state"] == "canary"
    look(governed, first)
    governed.call("POST", f"/v1/rollouts/{first['rollout_id']}/promote", body={"reason": "sure"})
    governed.register_candidate("3")
    second = governed.open_rollout(candidate_version="3", champion_version="2", low=0.6)
    objections = look(governed, second)["evidence"]["policy"]["objections"]
    assert objections == ["1 were approved within a week, 1 are allowed"]


def test_a_promotion_must_be_confirmed_by_its_holdback_before_the_next(governed: Setup):
    rollout = governed.open_rollout(low=0.6)
    look(governed, rollout)
    governed.clock.pass_seconds(61)
    look(governed, rollout), look(governed, rollout)
    governed.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    governed.register_candidate("3")
    later = governed.open_rollout(candidate_version="3", champion_version="2", low=0.6)
    assert look(governed, later)["evidence"]["policy"]["objections"] == ["the holdback has not confirmed version 2 yet"]
    governed.clock.pass_seconds(1)
    serve(governed, rollout, 60, champion=lambda n: {"up": n % 2 > 0}, canary=lambda n: {"up": True}, tag="later")
    confirmed = look(governed, rollout)["evidence"]["confirmed"]
    assert confirmed["not_worse_by"] <= 0.05
    assert look(governed, later)["evidence"]["policy"]["objections"] == []
    assert ("deployer", "confirm") in actions(governed)


def test_after_a_rollback_the_policy_has_to_be_set_anew(governed: Setup):
    rollout = governed.start_canary()
    serve(governed, rollout, 60, champion=usual, canary=lambda number: {"up": False})
    assert look(governed, rollout)["state"] == "rolled_back"
    assert describe(governed)["not_in_force"] == "there was a rollback since it was set"
    assert set_policy(governed).json()["not_in_force"] is None


def test_under_four_eyes_a_policy_is_one_pair_and_needs_another_than_its_signer(governed: Setup):
    governed.configure(approvals=2)
    assert set_policy(governed, role="admin").status_code == 403
    rollout = governed.open_rollout(low=0.6)
    look(governed, rollout)
    governed.clock.pass_seconds(61)
    assert look(governed, rollout)["summary"].startswith("approved by approval policy 1 (ada); a second admin")
    assert look(governed, rollout)["state"] == "awaiting_approval"
    assert governed.approve(rollout, role="ada").status_code == 403
    assert governed.approve(rollout, role="bela").json()["approved_by"] == "approval policy 1 (ada) and bela"


def test_a_policy_cannot_be_set_without_a_key_to_sign_it(setup: Setup):
    answer = set_policy(setup, role="admin")
    assert (answer.status_code, answer.json()["title"]) == (503, "Unavailable")
    assert set_policy(setup, role="ops").status_code == 403


def test_the_deployers_role_may_add_policies_and_approvals_but_change_none(setup: Setup):
    with setup.engine.begin() as connection:
        connection.execute(text("CREATE ROLE lonely"))
        for statement in list_grants("lonely", DATABASE_ROLES["deployer"]):
            connection.exec_driver_sql(statement.as_string(connection.connection.driver_connection))
    try:
        for table in ("approvals", "approval_policies"):
            with pytest.raises(DBAPIError, match="permission denied"), setup.engine.begin() as connection:
                connection.execute(text("SET LOCAL ROLE lonely"))
                connection.execute(text(f"DELETE FROM deployer.{table}"))
    finally:
        with setup.engine.begin() as connection:
            connection.execute(text("DROP OWNED BY lonely"))
            connection.execute(text("DROP ROLE lonely"))


def test_a_window_of_a_time_zone_is_read_from_the_settings(setup: Setup):
    setup.configure(freeze_windows="fri 16:00 - mon 08:00 Europe/Berlin")
    friday = datetime(2026, 7, 3, 15, 0, tzinfo=UTC)
    assert setup.rollouts.find_freeze_end(friday) == datetime(2026, 7, 6, 6, 0, tzinfo=UTC)
    with setup.sessions() as session:
        assert session.query(Rollout).count() == 0
