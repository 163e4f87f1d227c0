"""The recorder keeps the canary's evidence and the training's curves, and gets in nobody's way."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from local.demo.record import LOOK_EVERY_SECONDS, Recorder
from local.demo.timeline import Timeline
from local.layout import Layout

RUN = {
    "run_id": "r1",
    "mlflow_run_id": "m1",
    "state": "succeeded",
    "reason": "all steps taken",
    "candidate_version": "2",
    "parent_version": "1",
    "dataset_sha256": "ab" * 32,
    "recipe": {
        "name": "support_bot", "method": "dpo", "max_steps": 40, "max_grad_norm": 1.0, "guards": {"max_margin": 20.0}
    },
}  # fmt: skip


def make_rollout(canary_votes: int) -> dict[str, Any]:
    evidence: dict[str, Any] = {}
    if canary_votes:
        evidence = {
            "e_rollback": 1.0,
            "e_advance": 1.5**canary_votes,
            "rolls_back_at": 20.0,
            "advances_at": 20.0,
            "delta": 0.05,
            "champion": {"votes": 4, "ups": 1},
            "canary": {"votes": canary_votes, "ups": canary_votes},
        }
    return {
        "rollout_id": "o1",
        "candidate_version": "2",
        "state": "canary",
        "summary": "waits for votes",
        "stage": 0 if canary_votes else None,
        "stages": [{"percent": 25.0}],
        "evidence": evidence,
    }


class Stack:
    """The deployer, the trainer and MLflow, as far as the recorder asks them."""

    def __init__(self, votes: list[int], *, mlflow_is_away: bool = False) -> None:
        self.votes = votes
        self.looks = 0
        self.mlflow_is_away = mlflow_is_away

    async def answer(self, request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/v1/rollouts":
                self.looks += 1
                now = self.votes[min(self.looks, len(self.votes)) - 1]
                return httpx.Response(200, json={"rollouts": [make_rollout(now)]})
            case "/v1/runs":
                return httpx.Response(200, json={"runs": [RUN]})
            case _ if self.mlflow_is_away:
                raise httpx.ConnectError("refused")
            case "/api/2.0/mlflow/runs/get":
                return httpx.Response(200, json={"run": {"data": {"metrics": [{"key": "loss"}]}}})
            case "/api/2.0/mlflow/metrics/get-history":
                assert "authorization" not in request.headers
                points = [(3, "0.4"), (1, "0.9"), (2, "NaN"), (3, "0.5")]
                return httpx.Response(200, json={"metrics": [{"step": n, "value": value} for n, value in points]})
        raise AssertionError(request.url)


def record(stack: Stack) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        layout = Layout(Path("/nowhere"))
        transport = httpx.MockTransport(stack.answer)
        async with Recorder(layout, {"ops": "key"}, Timeline(), transport) as recorder:
            while stack.looks <= len(stack.votes):
                await asyncio.sleep(LOOK_EVERY_SECONDS / 10)
            return await recorder.collect()

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_evidence_is_kept_once_for_each_change_and_with_where_it_acts():
    (canary,) = record(Stack([0, 1, 1, 3]))["canaries"]

    assert [point["canary"]["votes"] for point in canary["history"]] == [1, 3]
    assert (canary["advances_at"], canary["rolls_back_at"], canary["candidate_version"]) == (20.0, 20.0, "2")
    assert canary["history"][0]["at"] <= canary["history"][1]["at"]


def test_a_curve_has_each_step_once_in_order_and_no_value_that_is_not_a_number():
    (training,) = record(Stack([0]))["trainings"]

    assert training["curves"] == {"loss": [[1, 0.9], [3, 0.5]]}
    assert training["guards"] == {"max_margin": 20.0}
    assert training["summary"] == "all steps taken"


def test_a_tracker_that_is_away_costs_the_curves_and_nothing_else():
    (training,) = record(Stack([0], mlflow_is_away=True))["trainings"]

    assert training["curves"] == {}
    assert training["candidate_version"] == "2"
