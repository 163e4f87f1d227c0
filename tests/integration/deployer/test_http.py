"""Who may call what over HTTP, and the console's page."""

from typing import Any

import pytest

from shared.ids import new_id
from tests.integration.deployer.scene import Setup


@pytest.mark.parametrize(
    ("method", "path", "role", "status"),
    [
        ("GET", "/v1/rollouts", "frontend", 403),
        ("GET", "/v1/routing", "frontend", 403),
        ("GET", "/v1/routing", "internal", 200),
        ("GET", "/v1/audit", "internal", 403),
        ("POST", "/v1/rollback", "ops", 403),
        ("GET", f"/v1/rollouts/{new_id()}", "ops", 404),
        ("POST", f"/v1/rollouts/{new_id()}/pause", "admin", 404),
        ("POST", f"/v1/rollouts/{new_id()}/explode", "admin", 422),
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


def test_the_console_is_one_page_without_data_or_foreign_resources(setup: Setup):
    response = setup.client.get("/")
    assert response.status_code == 200
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "innerHTML =" not in response.text
    assert "http://" not in response.text
