"""The registry says what our tables say, whoever changed it, and the audit log says that it was put right."""

from typing import Any

import pytest

from shared.errors import NotFound
from tests.integration.deployer.scene import Setup


def repairs(setup: Setup) -> list[tuple[str, str, str]]:
    entries = setup.call("GET", "/v1/audit").json()["entries"]
    found = [entry for entry in entries if entry["action"] in ("repair_alias", "restore_version")]
    return [(entry["action"], entry["subject"], entry["detail"]["summary"]) for entry in found]


def test_an_alias_that_somebody_moved_or_took_away_is_repaired_and_the_repair_audited(setup: Setup):
    setup.open_rollout()
    setup.maintenance.project_aliases()
    assert (setup.registry.load_alias("champion"), setup.registry.load_alias("challenger")) == ("1", "2")
    assert repairs(setup) == []
    setup.registry.set_alias("champion", "2")
    setup.registry.clear_alias("challenger")
    setup.maintenance.project_aliases()
    assert (setup.registry.load_alias("champion"), setup.registry.load_alias("challenger")) == ("1", "2")
    assert repairs(setup) == [
        ("repair_alias", "champion", "the registry's champion was 2; it is 1 again"),
        ("repair_alias", "challenger", "the registry's challenger was nothing; it is 2 again"),
    ]
    setup.maintenance.project_aliases()
    assert len(repairs(setup)) == 2


def test_what_a_rollout_does_is_no_repair(setup: Setup):
    rollout = setup.start_canary()
    setup.maintenance.project_aliases()
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    setup.maintenance.project_aliases()
    assert (setup.registry.load_alias("champion"), setup.registry.load_alias("challenger")) == ("2", None)
    setup.call("POST", "/v1/rollback", body={"reason": "second thoughts"})
    setup.maintenance.project_aliases()
    assert setup.registry.load_alias("champion") == "1"
    assert repairs(setup) == []


@pytest.mark.parametrize("served", ["the canary", "the champion"])
def test_a_version_that_somebody_deleted_is_registered_again_under_its_number(setup: Setup, served: str):
    del setup.serving.urls[0]
    rollout = setup.start_canary()
    if served == "the champion":
        setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    setup.maintenance.project_aliases()
    before: Any = setup.registry.load_version("2").tags
    setup.registry.delete_version("2")
    with pytest.raises(NotFound):
        setup.registry.load_version("2")
    setup.maintenance.project_aliases()
    restored = setup.registry.load_version("2")
    assert {name: restored.tags[name] for name in before} == dict(before)
    assert setup.registry.load_alias("champion" if served == "the champion" else "challenger") == "2"
    assert ("restore_version", "2", "version 2 was deleted in the registry; registered again") in repairs(setup)
    with setup.sessions() as session:
        setup.binding.check(session, setup.commands._load(session, rollout["rollout_id"]))  # signed, byte for byte
    setup.maintenance.maintain_servers()
    assert setup.call("GET", "/v1/audit").json()["verified"]
