"""Writes down what the loop does while others play: how training went, and how the canary's evidence grew."""

import asyncio
import contextlib
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import httpx
import structlog

from local.demo.apis import Apis, DemoFailed
from local.demo.timeline import Timeline
from local.layout import Layout

logger = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 0.5
MOST_POINTS = 400
"""Of a curve: a picture shows no more."""


class Recorder:
    """Looks at the deployer's rollouts in the background; reads the training's metrics once all is over.

    Its requests are its own: none of them counts as one of the demo's people.
    """

    def __init__(
        self,
        layout: Layout,
        credentials: Mapping[str, str],
        timeline: Timeline,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._apis = Apis(layout, credentials, transport)
        self._mlflow = httpx.AsyncClient(
            base_url=f"{layout.url('mlflow')}/api/2.0/mlflow", timeout=30, transport=transport
        )
        self._timeline = timeline
        self._task: asyncio.Task[None] | None = None
        self._canaries: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> "Recorder":
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._apis.close()
        await self._mlflow.aclose()

    async def collect(self) -> dict[str, Any]:
        """Return what only the report's pictures need; a tracker that is away costs its curves, not the report."""
        runs = (await self._apis.read("trainer", "/v1/runs"))["runs"]
        return {
            "trainings": [await self._describe_training(run) for run in reversed(runs)],
            "canaries": list(self._canaries.values()),
        }

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(DemoFailed):
                for rollout in reversed((await self._apis.read("deployer", "/v1/rollouts"))["rollouts"]):
                    self._note(rollout)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _note(self, rollout: dict[str, Any]) -> None:
        """Keep the rollout's evidence if it changed since the last look."""
        evidence = rollout["evidence"]
        if "e_advance" not in evidence:
            return
        known = self._canaries.setdefault(
            rollout["rollout_id"],
            {
                "candidate_version": rollout["candidate_version"],
                "rolls_back_at": evidence["rolls_back_at"],
                "advances_at": evidence["advances_at"],
                "delta": evidence["delta"],
                "history": [],
            },
        )
        known |= {"state": rollout["state"], "summary": rollout["summary"], "stages": rollout["stages"]}
        point = {
            "stage": rollout["stage"],
            "champion": evidence["champion"],
            "canary": evidence["canary"],
            "e_rollback": evidence["e_rollback"],
            "e_advance": evidence["e_advance"],
        }
        history = known["history"]
        if not history or point != {name: value for name, value in history[-1].items() if name != "at"}:
            history.append({"at": self._timeline.now, **point})

    async def _describe_training(self, run: dict[str, Any]) -> dict[str, Any]:
        recipe = run["recipe"]
        try:
            curves = await self._read_curves(run["mlflow_run_id"]) if run["mlflow_run_id"] else {}
        except httpx.HTTPError as error:
            logger.warning("training_curves_not_read", error=repr(error))
            curves = {}
        return {
            "run_id": run["run_id"],
            "mlflow_run_id": run["mlflow_run_id"],
            "state": run["state"],
            "summary": run["reason"],
            "candidate_version": run["candidate_version"],
            "parent_version": run["parent_version"],
            "dataset_sha256": run["dataset_sha256"],
            "recipe": {name: recipe.get(name) for name in ("name", "method", "max_steps", "batch_size", "beta")},
            "guards": recipe.get("guards", {}),
            "clips_gradients_at": recipe.get("max_grad_norm"),
            "curves": curves,
        }

    async def _read_curves(self, run_id: str) -> dict[str, list[list[float]]]:
        """Each metric's [step, value] points, in order of steps; values that are not numbers are left out."""
        run = await self._get("/runs/get", run_id=run_id)
        names = [metric["key"] for metric in run["run"]["data"].get("metrics", [])]
        found = [(name, await self._get("/metrics/get-history", run_id=run_id, metric_key=name)) for name in names]
        return {name: _derive_curve(history["metrics"]) for name, history in found}

    async def _get(self, path: str, **query: str) -> Any:
        response = await self._mlflow.get(path, params=query)
        response.raise_for_status()
        return response.json()


def _derive_curve(history: list[dict[str, Any]]) -> list[list[float]]:
    """The last value of each step: a run that was resumed logs some steps twice."""
    values = {int(point.get("step", 0)): float(point["value"]) for point in history}
    kept = [[step, value] for step, value in sorted(values.items()) if math.isfinite(value)]
    return kept[:: max(1, math.ceil(len(kept) / MOST_POINTS))]
