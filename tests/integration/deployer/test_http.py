"""Who may call what over HTTP."""

from typing import Any

import pytest

from services.deployer.repository.audit import load_audit_end
from tests.integration.deployer.scene import Setup

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("method", "path", "role", "status"),
    [
        ("GET", "/v1/rollouts", "frontend", 403),
        ("GET", "/v1/routing", "frontend", 403),
        ("GET", "/v1/routing", "internal", 200),
        ("GET", "/v1/audit", "internal", 403),
        ("POST", "/v1/rollback", "ops", 403),
        ("GET", f"/v1/rollouts/{UNKNOWN}", "ops", 404),
        ("POST", f"/v1/rollouts/{UNKNOWN}/pause", "admin", 404),
        ("POST", f"/v1/rollouts/{UNKNOWN}/explode", "admin", 422),
    ],
)
def test_roles_and_unknown_rollouts(setup: Setup, method: str, path: str, role: str, status: int):
    body = {"reason": "test"} if method == "POST" else None
    assert setup.call(method, path, role=role, body=body).status_code == status


@pytest.mark.parametrize("reason", ["", "\x00", "two\nlines", 7, None])
def test_a_reason_that_the_audit_log_cannot_hold_is_refused(setup: Setup, reason: Any):
    response = setup.call("POST", "/v1/rollback", body={"reason": reason})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "reason"


def test_a_command_without_a_reason_names_the_field(setup: Setup):
    response = setup.call("POST", "/v1/rollback", body={})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "reason"


def test_the_audit_log_names_the_admins_key_and_comes_in_pages(setup: Setup) -> None:
    rollout = setup.open_rollout()
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/reject", body={"reason": "too chatty"})
    newest = setup.call("GET", "/v1/audit?limit=1", role="ops").json()
    assert newest["entries"][0]["detail"]["key_id"] == setup.keys["admin"].split("_")[1]
    rest = setup.call("GET", f"/v1/audit?before={newest['earlier']}", role="ops").json()
    assert [entry["action"] for entry in rest["entries"] + newest["entries"]] == ["adopt", "open", "reject"]
    assert (newest["verified"], rest["verified"], rest["earlier"]) == (True, True, None)


def test_the_end_of_the_audit_log_is_anchored_and_an_anchor_never_goes_back(setup: Setup) -> None:
    setup.maintenance.anchor_audit()
    with setup.sessions() as session:
        assert setup.registry.load_tag("audit_anchor") == str(load_audit_end(session))
    later = f"99:{'a' * 64}"
    setup.registry.set_tag("audit_anchor", later)
    setup.maintenance.anchor_audit()
    assert setup.registry.load_tag("audit_anchor") == later
