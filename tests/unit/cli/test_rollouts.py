"""`heliotrope rollouts` and the commands beside it, against a deployer that answers from a script."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from cli.main import app

ROLLOUT: dict[str, Any] = {
    "rollout_id": "0193aaaa-0000-7000-8000-000000000001",
    "candidate_version": "2",
    "champion_version": "1",
    "state": "canary",
    "stage": 0,
    "stages": [{"percent": 5.0, "started_at": "2026-11-28T00:00:00+00:00"}],
    "summary": "the model is loaded; the first stage begins",
    "approval_hash": "a" * 64,
    "closed_at": None,
    "evidence": {
        "shadow": {
            "prompts": 200,
            "passed_at": "2026-11-27T00:00:00+00:00",
            "deadline_at": "2026-12-10T00:00:00+00:00",
            "guardrails": [{"name": "longer", "action": "hold", "is_breached": True, "e_value": 63.0, "acts_at": 40.0}],
        },
        "guardrails": [
            {"name": "outcome", "action": "roll_back", "is_breached": False, "canary": 0.75, "champion": 0.8}
            | {"e_value": 1.5, "acts_at": 40.0}
        ],
        "summary": "about 300 more users: e-value 1.5 of 2",
        "forecast": {"seconds": [3_600.0, 172_800.0, None]},
        "deadline_at": "2026-12-12T00:00:00+00:00",
    },
}

POLICY: dict[str, Any] = {
    "version": 3,
    "policy": {"gate": "win_rate", "least_effect": 0.55},
    "not_in_force": "stopped by ada",
}
NOTICE: dict[str, Any] = {
    "created_at": "2026-11-28T00:00:00+00:00",
    "kind": "held",
    "target": "hooks.example (0123abcd)",
    "attempts": 2,
    "next_attempt_at": "2026-11-28T00:00:15+00:00",
    "last_result": "status 500",
    "delivered_at": None,
    "given_up_at": None,
}
ENTRY = {
    "sequence": 7,
    "at": "2026-11-28",
    "actor": "ada",
    "action": "pause",
    "subject": "r",
    "detail": {"summary": "x"},
}
AUDIT: dict[str, Any] = {"entries": [ENTRY], "verified": False, "broken_at": 7, "earlier": None}
OTHERS: dict[str, Any] = {
    "/v1/approval-policy": POLICY,
    "/v1/approval-policy/stop": POLICY,
    "/v1/notices": {"notices": [NOTICE]},
    "/v1/audit": AUDIT,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """What the deployer was asked: method, path, body."""
    asked: list[tuple[str, str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        asked.append((request.method, request.url.path, body))
        assert request.headers["authorization"] == "Bearer a-key"
        if request.url.path.endswith("/approve"):
            return httpx.Response(409, json={"detail": "approval_hash is not this rollout's"})
        if request.url.path in OTHERS:
            return httpx.Response(200, json=OTHERS[request.url.path])
        if request.url.path == "/v1/rollback":
            return httpx.Response(200, json={"champion": {"version": "1"}})
        return httpx.Response(200, json={"rollouts": [ROLLOUT]} if request.method == "GET" else ROLLOUT)

    client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **options: client(**options, transport=httpx.MockTransport(answer)))
    monkeypatch.setenv("HELIOTROPE_API_KEY", "a-key")
    return asked


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--deployer", "http://deployer"])


def test_a_rollout_is_shown_with_guardrails_forecast_and_deadline(asked: list[Any]):
    shown = run("rollouts", "0193aaaa").output
    assert "outcome: quiet; canary 75.0%, champion 80.0%; evidence 1.5 of 40" in shown
    assert "in its shadow until 2026-11-27T00:00:00+00:00: 200 prompts compared" in shown
    assert "longer: hold; evidence 63 of 40" in shown
    assert "decides in (20, 50, 80%): 1.0 h, 2.0 days, never" in shown
    assert "ended if undecided by 2026-12-12" in shown
    assert json.loads(run("rollouts", "--json").output) == [ROLLOUT]
    assert "5%" in run("rollouts").output


@pytest.mark.parametrize("command", ["reject", "pause", "resume", "abort", "promote"])
def test_a_command_names_the_rollout_by_its_beginning_and_says_why(asked: list[Any], command: str):
    assert run(command, "0193", "--reason", "holiday").exit_code == 0
    assert asked[-1] == ("POST", f"/v1/rollouts/{ROLLOUT['rollout_id']}/{command}", {"reason": "holiday"})


def test_a_rollback_may_name_an_earlier_champion(asked: list[Any]):
    assert "Version 1 is the champion again" in run("rollback", "--reason", "odd", "--version", "1").output
    assert asked == [("POST", "/v1/rollback", {"reason": "odd", "version": "1"})]


def test_what_the_deployer_refuses_ends_with_its_reason(asked: list[Any]):
    refused = run("approve", "0193", "--hash", "b" * 64)
    assert (refused.exit_code, "approval_hash is not this rollout's" in refused.output) == (1, True)
    assert run("pause", "ffff", "--reason", "x").exit_code == 1


def test_an_address_without_a_key_is_refused(asked: list[Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HELIOTROPE_API_KEY")
    assert run("rollouts").exit_code == 1
    assert asked == []


def test_a_policy_is_set_shown_and_stopped(asked: list[Any]):
    limits = ("--least-effect", "0.55", "--per-week", "2", "--veto-minutes", "30")
    assert (
        "approval policy 3, not in force: stopped by ada"
        in run("approval-policy", "set", *limits, "--reason", "summer").output
    )
    body = {"gate": "win_rate", "least_effect": 0.55, "per_week": 2, "veto_seconds": 1_800.0}
    body |= {"needs_confirmation": True, "reason": "summer"}
    assert asked[-1] == ("POST", "/v1/approval-policy", body)
    run("approval-policy", "stop", "--reason", "we look ourselves")
    assert asked[-1] == ("POST", "/v1/approval-policy/stop", {"reason": "we look ourselves"})
    assert json.loads(run("approval-policy", "show", "--json").output) == POLICY
    assert "least_effect: 0.55" in run("approval-policy", "show").output


def test_the_delivery_log_and_the_audit_log_are_listed(asked: list[Any]):
    assert "again 2026-11-28T00:00:15+00:00 (status 500)" in run("notices").output
    assert json.loads(run("notices", "--json").output) == [NOTICE]
    shown = run("audit", "list").output
    assert "ada: pause r" in shown
    assert "BROKEN at entry 7" in shown
    assert json.loads(run("audit", "list", "--json").output) == AUDIT
