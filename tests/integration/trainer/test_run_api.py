"""Runs over HTTP."""

import threading
from pathlib import Path

from fastapi.testclient import TestClient

from services.trainer.domain.training import Job, TrainingResult
from services.trainer.handlers.execution import execute_next_run
from services.trainer.ports import RunReporter
from shared.ids import new_id
from tests.integration.trainer.scene import (
    Sessions,
    claim,
    list_announced,
    load_run,
    make_context,
    make_header,
    make_request,
    request,
)


def test_ops_see_the_runs_and_others_do_not(sessions: Sessions, client: TestClient):
    run = request(sessions, make_request())
    header = make_header(sessions, client, "ops")
    listed = client.get("/v1/runs", headers=header).json()["runs"]
    assert [(row["run_id"], row["state"]) for row in listed] == [(str(run.run_id), "queued")]
    assert client.get(f"/v1/runs/{run.run_id}", headers=header).json() == listed[0]
    assert client.get("/v1/runs?state=failed", headers=header).json() == {"runs": []}
    assert client.get(f"/v1/runs/{new_id()}", headers=header).status_code == 404
    assert client.get("/v1/runs?state=magic", headers=header).status_code == 422
    assert client.get("/v1/runs").status_code == 401
    assert client.get("/v1/runs", headers=make_header(sessions, client, "frontend")).status_code == 403


def test_only_an_admin_cancels_and_twice_is_as_once(sessions: Sessions, client: TestClient):
    run = request(sessions, make_request())
    path = f"/v1/runs/{run.run_id}/cancel"
    assert client.post(path, headers=make_header(sessions, client, "ops")).status_code == 403
    admin = make_header(sessions, client, "admin")
    cancelled = client.post(path, headers=admin).json()
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled by admin-key")
    again = client.post(path, headers=make_header(sessions, client, "admin"))
    assert (again.status_code, again.json()) == (200, cancelled)
    assert [event.outcome for event in list_announced(sessions)] == ["cancelled"]
    assert claim(sessions, run.run_id) is None


def test_a_run_that_failed_is_not_cancelled(sessions: Sessions, client: TestClient):
    run = request(sessions, make_request(recipe="no_such"))
    response = client.post(f"/v1/runs/{run.run_id}/cancel", headers=make_header(sessions, client, "admin"))
    assert response.status_code == 409
    assert load_run(sessions, run.run_id).state == "failed"


def test_a_running_run_notices_its_cancelling(sessions: Sessions, client: TestClient, tmp_path: Path):
    run = request(sessions, make_request())
    admin = make_header(sessions, client, "admin")

    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        assert client.post(f"/v1/runs/{run.run_id}/cancel", headers=admin).status_code == 200
        pause = threading.Event()
        for _ in range(100):
            reporter.on_micro_step()
            pause.wait(0.05)
        raise AssertionError("nobody told the worker within 5 s")

    context = make_context(sessions, tmp_path, train)
    execute_next_run(None, context)
    assert [event.outcome for event in list_announced(sessions)] == ["cancelled"]
    assert len(context.registry.list_versions()) == 1
