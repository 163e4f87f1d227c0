"""How rollouts open, move from stage to stage and end."""

from dataclasses import replace
from uuid import UUID

import msgspec
import pytest
from msgspec import to_builtins
from pydantic import SecretStr
from sqlalchemy import update

from local.stack.backup import begin_epoch
from shared.events import RoutingTable
from shared.routing import check_table
from shared.signing import Verifier, derive_public_key, generate_key
from shared.tables.curator import RetrainRequestRow, RoutingRow
from shared.tables.deployer import Rollout
from tests.integration.deployer.scene import HASHES, Setup


def test_harm_is_rolled_back_and_everyone_is_on_the_champion_again(setup: Setup):
    rollout = setup.start_canary()
    for number in range(60):
        canary = number % 2 == 0
        setup.vote(rollout, canary=canary, up=not canary, user=str(number))
        setup.reconciler.reconcile()
    assert setup.load(rollout)["state"] == "rolled_back"
    table = setup.call("GET", "/v1/routing", role="ops").json()
    assert table["champion"]["version"] == "1"
    assert table.get("canary") is None


def test_an_evaluation_announced_twice_opens_one_rollout(setup: Setup):
    assert setup.open_rollout()["state"] == "awaiting_approval"


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_a_candidate_that_did_not_pass_is_rejected_with_its_reasons(setup: Setup, verdict: str):
    rollout = setup.open_rollout(verdict)
    assert rollout["state"] == "rejected"
    assert "win_rate" in rollout["summary"]
    assert setup.approve(rollout).status_code == 409


def test_a_model_that_cannot_be_loaded_ends_in_an_abort(setup: Setup):
    setup.serving.urls[:] = ["http://127.0.0.1:1/v1"]
    rollout = setup.open_rollout()
    assert setup.approve(rollout).status_code == 200
    setup.reconciler.reconcile()
    assert setup.load(rollout)["stage"] is None
    setup.clock.pass_seconds(301)
    setup.reconciler.reconcile()
    assert setup.load(rollout)["state"] == "aborted"


def test_the_holdback_goes_on_voting_after_the_promotion(setup: Setup):
    rollout = setup.start_canary()
    setup.vote(rollout, canary=True, up=True, user="anna")
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    assert setup.call("GET", "/v1/routing").json()["rollout_id"] == rollout["rollout_id"]
    for number in range(4):
        setup.vote(rollout, canary=number > 0, up=number > 1, user=f"late-{number}")
    setup.maintenance.measure_holdback()
    assert setup.load(rollout)["evidence"]["since_promotion"] == {
        "champion": {"votes": 3, "ups": 2},
        "holdback": {"votes": 1, "ups": 0},
    }


def test_what_the_curator_did_not_hear_is_announced_again_until_it_did(setup: Setup):
    rollout = setup.open_rollout("fail")
    with setup.sessions() as session, session.begin():
        session.add(
            RetrainRequestRow(
                request_id=UUID(rollout["request_id"]),
                dataset_sha256=HASHES["dataset_sha256"],
                parent_version="1",
                reasons=[],
                state="open",
                requested_at=setup.clock(),
                deadline_at=setup.clock(),
                announced_at=setup.clock(),
            )
        )
    before = setup.announced()
    setup.maintenance.announce_again()
    assert setup.announced() == before
    setup.clock.pass_seconds(31)
    setup.maintenance.announce_again()
    setup.maintenance.announce_again()
    again = setup.announced()[len(before) :]
    assert sorted(event.state for event in again) == ["adopted", "rejected"]
    assert all(event in before for event in again if event.state == "rejected")
    with setup.sessions() as session, session.begin():
        session.execute(update(RetrainRequestRow).values(state="closed"))
        table = again[0].routing
        session.add(
            RoutingRow(
                family="heliotrope", generation=1, champion_version="1", champion_since=setup.clock(),
                table=to_builtins(table),
            )
        )  # fmt: skip
    setup.maintenance.announce_again()
    assert len(setup.announced()) == len(before) + 2


def test_one_broken_rollout_does_not_stop_the_others(setup: Setup) -> None:
    broken, waiting = setup.start_canary(), setup.open_rollout()
    with setup.sessions() as session, session.begin():
        session.execute(update(Rollout).where(Rollout.state == "canary").values(limits={}))
    setup.clock.pass_seconds(8 * 86_400)
    assert setup.reconciler.reconcile() == 1
    assert setup.load(broken)["state"] == "canary"
    assert setup.load(waiting)["state"] == "rejected"


def test_fewer_stages_in_the_settings_do_not_switch_the_rollback_off(setup: Setup) -> None:
    rollout = setup.start_canary()
    for number in range(40):
        setup.vote(rollout, canary=number % 4 == 0, up=number % 4 == 0, user=f"glad-{number}")
    setup.clock.pass_seconds(11)
    setup.reconciler.reconcile()
    assert setup.load(rollout)["stage"] == 1
    settings = setup.rollouts.settings.model_copy(update={"stages": [100]})
    reconciler = replace(setup.reconciler, rollouts=replace(setup.rollouts, settings=settings))
    for number in range(200):
        canary = number % 2 == 0
        setup.vote(rollout, canary=canary, up=not canary, user=f"harmed-{number}")
    assert reconciler.reconcile() == 0
    assert setup.load(rollout)["state"] == "rolled_back"


def test_tables_are_signed_and_said_anew_when_the_key_or_the_epoch_changes(setup: Setup):
    setup.maintenance.renew_routing()
    before = setup.announced()
    assert (before[-1].routing.generation, before[-1].routing.signature) == (1, None)
    key = generate_key()
    settings = setup.rollouts.settings.model_copy(update={"routing_key": SecretStr(key)})
    rollouts = replace(setup.rollouts, settings=settings)
    maintenance = replace(setup.maintenance, rollouts=rollouts)
    verifier = Verifier([derive_public_key(key)])
    for _ in range(2):
        maintenance.renew_routing()
    signed = setup.announced()[len(before) :]
    assert [(event.routing.epoch, event.routing.generation) for event in signed] == [(0, 2)]
    check_table(signed[0].routing, verifier)
    served = setup.call("GET", "/v1/routing", role="internal").json()
    check_table(msgspec.convert(served, RoutingTable), verifier)

    url = setup.engine.url.render_as_string(hide_password=False)
    epochs = [begin_epoch(url, "a backup was restored") for _ in range(2)]
    assert epochs[0] is not None
    assert epochs[1] == epochs[0] + 1
    for _ in range(2):
        maintenance.renew_routing()
    renewed = setup.announced()[len(before) + 1 :]
    assert [(event.routing.epoch, event.routing.generation) for event in renewed] == [(epochs[1], 3)]
    check_table(renewed[0].routing, verifier)
    assert renewed[0].routing.champion == signed[0].routing.champion


def test_a_canary_of_a_restored_backup_serves_nobody_until_it_is_tried_anew(setup: Setup):
    """Its rollback may be among what came after the backup, and is lost."""
    rollout = setup.start_canary()
    assert setup.call("GET", "/v1/routing").json()["canary"]["version"] == "2"
    setup.register_candidate("3")
    waiting = setup.open_rollout(candidate_version="3")
    epoch = begin_epoch(setup.engine.url.render_as_string(hide_password=False), "a backup was restored")
    setup.reconciler.reconcile()
    setup.maintenance.renew_routing()
    ended = setup.load(rollout)
    assert (ended["state"], ended["summary"]) == (
        "aborted",
        "a backup was restored: what became of it since is not known",
    )
    table = setup.announced()[-1].routing
    assert (table.epoch, table.canary, table.champion.version) == (epoch, None, "1")
    assert setup.load(waiting)["state"] == "awaiting_approval"
    setup.clock.pass_seconds(60)
    assert setup.approve(waiting).status_code == 200
    setup.reconciler.reconcile()
    assert setup.load(waiting)["stage"] == 0
