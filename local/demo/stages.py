"""The stages of the demo, each waiting for the loop to take its next step and showing how far it is."""

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any

from local.credentials import name_rater
from local.demo.apis import Apis, DemoFailed, Refused
from local.demo.crowd import SIDE_BY_SIDE_SHARE, Crowd
from local.demo.plan import Plan
from local.demo.screen import Screen
from local.simulation.prompts import Question, draw_live_questions
from local.simulation.users import SimulatedUser, Temper, index_by_text, make_users
from local.simulation.users import meet_newcomers as newcomers
from shared.rollouts import FINAL_STATES

POLL_SECONDS = 1.0
LAST_LOOK_SECONDS = 120.0
"""How long the monitor has, on a machine that is busy elsewhere, to see the last pairs of a crowd that fell silent."""


@dataclass
class Stages:
    """One demo: its people and their questions, and what they have seen so far."""

    plan: Plan
    apis: Apis
    screen: Screen
    seed: int
    datasets: Path
    """The folder of frozen datasets."""
    rng: Random = field(init=False)
    crowd: Crowd = field(init=False)
    live: list[Question] = field(init=False)
    regulars: Iterator[SimulatedUser] = field(init=False)
    questions: Iterator[Question] = field(init=False)
    side_by_side: float = field(init=False)
    requests_seen: set[str] = field(default_factory=set)
    groups_met: int = 0

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.live = draw_live_questions(self.plan.most_chats + self.plan.canary_questions, self.rng)
        self.crowd = Crowd(self.apis, rng=self.rng, max_tokens=self.plan.max_tokens)
        self.seat(make_users(self.plan.users, self.rng))

    def seat(self, regulars: Iterable[SimulatedUser], side_by_side: float = SIDE_BY_SIDE_SHARE) -> None:
        """Choose who chats before a retraining, in turns; `side_by_side` is the share of questions with two answers."""
        self.regulars = iter(regulars) if isinstance(regulars, Iterator) else itertools.cycle(regulars)
        self.side_by_side = side_by_side
        self.questions = itertools.cycle(self.live[: self.plan.most_chats])

    async def find_champion(self) -> str:
        return str((await self.apis.read("deployer", "/v1/routing"))["champion"]["version"])

    async def find_checkpoint(self) -> str:
        """Return the folder that the champion is served from."""
        served = (await self.apis.read("deployer", "/v1/routing"))["champion"]["model"]
        models = (await self.apis.read("model-server", "/v1/models"))["data"]
        return str(next(model["root"] for model in models if model["id"] == served))

    async def read_detectors(self) -> dict[str, dict[str, Any]]:
        """Return what each of the monitor's detectors says, by name."""
        return {each["name"]: each for each in (await self.apis.read("drift-monitor", "/v1/detectors"))["detectors"]}

    async def find_new_request(self) -> dict[str, Any] | None:
        """Return a retrain request that was not returned before."""
        for request in (await self.apis.read("curator", "/v1/requests"))["requests"]:
            if request["request_id"] not in self.requests_seen:
                self.requests_seen.add(request["request_id"])
                return dict(request)
        return None

    async def chat_until(self, is_enough: Callable[[], bool]) -> None:
        """Let the regulars chat and click."""
        self.crowd.users, self.crowd.questions = self.regulars, self.questions
        await self.crowd.run(self.plan.concurrency, is_enough, side_by_side=self.side_by_side)

    @asynccontextmanager
    async def stage(self, name: str, title: str) -> AsyncIterator[None]:
        with self.screen.stage(name, title):
            try:
                async with asyncio.timeout(self.plan.seconds_for[name]):
                    yield
            except TimeoutError:
                raise DemoFailed(f"{title}: not done after {self.plan.seconds_for[name]:.0f} s") from None

    async def _poll(self, look: Callable[[], Any]) -> Any:
        """Look again and again until there is something."""
        while not (found := await look()):
            await asyncio.sleep(POLL_SECONDS)
        return found

    async def listen(self) -> dict[str, Any]:
        """Let users chat and click until the monitor asks for retraining; return the request."""
        requested: dict[str, Any] = {}
        chats = self.crowd.log.chats

        def is_enough() -> bool:
            return bool(requested) or self.crowd.log.chats - chats >= self.plan.most_chats

        async with self.stage("listen", "Users chat and click; their feedback becomes preference pairs"):
            watcher = asyncio.create_task(self._watch_for_request(requested))
            await self.chat_until(is_enough)
            if not requested:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(watcher), LAST_LOOK_SECONDS)
            watcher.cancel()
        if not requested:
            raise DemoFailed(f"{self.crowd.log.chats - chats} chats brought no retrain request")
        for reason in requested["reasons"]:
            self.screen.say(f"  the monitor asks for retraining: {reason['summary']}")
        return requested

    async def _watch_for_request(self, requested: dict[str, Any]) -> None:
        started = time.monotonic()
        while not requested:
            requested |= await self.find_new_request() or {}
            if volume := (await self.read_detectors()).get("volume"):
                pairs, wanted = volume["value"], volume["threshold"]
                left = (time.monotonic() - started) * (wanted - pairs) / pairs if pairs > 5 else None
                log = self.crowd.log
                bound = "" if volume["figures"]["counted"] else "at most "
                told = f"{log.chats} answers, {log.events.total()} events, {bound}{pairs:.0f} of {wanted:.0f} new pairs"
                self.screen.show(told, pairs, wanted, left)
            await asyncio.sleep(POLL_SECONDS)

    async def train(self, request_id: str) -> dict[str, Any]:
        """Wait for the run; return it."""

        async def look() -> dict[str, Any] | None:
            runs = (await self.apis.read("trainer", "/v1/runs"))["runs"]
            run = next((run for run in runs if run["request_id"] == request_id), None)
            if run is None:
                return None
            progress = run["progress"]
            step, total = progress.get("step"), progress.get("total")
            told = f"{run['state']}, {progress.get('phase', 'waiting for the worker')}"
            told += f", step {step} of {total}, loss {progress.get('loss') or 0:.3f}" if step else ""
            self.screen.show(told, step, total, progress.get("seconds_left"))
            if run["state"] in ("failed", "cancelled"):
                raise DemoFailed(f"the training run {run['state']}: {run['reason']}")
            return dict(run) if run["state"] == "succeeded" else None

        async with self.stage("train", "The trainer runs DPO with LoRA on the frozen dataset"):
            run: dict[str, Any] = await self._poll(look)
        self.screen.say(f"  candidate: version {run['candidate_version']}")
        return run

    async def evaluate(self, request_id: str, raters: list[SimulatedUser] | None = None) -> dict[str, Any]:
        """Let raters vote blind while the evaluator asks; return the evaluation with its report."""
        questions = index_by_text(self.live)
        raters = raters or make_users(self.plan.raters, self.rng, prefix="rater")

        async def look() -> dict[str, Any] | None:
            evaluations = (await self.apis.read("evaluator", "/v1/evaluations"))["evaluations"]
            found = next((each for each in evaluations if each["request_id"] == request_id), None)
            if found is None:
                return None
            if found["state"] == "voting":
                await self._vote(raters, questions)
            progress, votes = found["progress"], found["votes"]
            if found["state"] == "generating":
                done, total = progress.get("done"), progress.get("total")
                told = f"both models answer the gate prompts: {done or 0} of {total or '?'}"
                self.screen.show(told, done, total, progress.get("seconds_left"))
            else:
                self.screen.show(f"{votes['cast']} of {votes['asked']} blind votes", votes["cast"], votes["asked"])
            return dict(found) if found["state"] == "completed" else None

        async with self.stage("evaluate", "The evaluator has both models judged blind on prompts kept from training"):
            summary = await self._poll(look)
            evaluation: dict[str, Any] = await self.apis.read(
                "evaluator", f"/v1/evaluations/{summary['evaluation_id']}"
            )
        for gate in evaluation["gates"]:
            self.screen.say(f"  {gate['name']}: {gate['verdict']}, {gate['summary']}")
        return evaluation

    async def _vote(self, raters: list[SimulatedUser], questions: dict[str, Question]) -> None:
        """Let raters judge in turn, each with a key of their own, until nothing is offered or voting has ended."""
        waiting = deque(enumerate(raters))
        while waiting:
            number, rater = waiting.popleft()
            key = name_rater(number)
            offer = await self.apis.request("evaluator", key, "GET", "/v1/comparisons/next")
            if offer.status_code == 204:
                continue
            shown = offer.json()
            vote = rater.vote(questions[shown["messages"][-1]["content"]], shown["left"], shown["right"])
            path = f"/v1/comparisons/{shown['comparison_id']}/vote"
            try:
                await self.apis.request("evaluator", key, "POST", path, body={"vote": vote})
            except Refused as refusal:
                if refusal.status != HTTPStatus.CONFLICT:
                    raise
                return  # the votes before it had decided
            waiting.append((number, rater))

    async def _find_rollout(self, request_id: str) -> dict[str, Any] | None:
        rollouts = (await self.apis.read("deployer", "/v1/rollouts"))["rollouts"]
        return next((rollout for rollout in rollouts if rollout["request_id"] == request_id), None)

    async def approve(self, request_id: str) -> dict[str, Any]:
        """Let the admin look at the rollout and approve it as seen; a candidate that failed a gate is closed."""
        async with self.stage("approve", "An admin approves the candidate over the API, if its gates let it through"):
            rollout: dict[str, Any] = await self._poll(lambda: self._find_rollout(request_id))
            if rollout["state"] != "awaiting_approval":
                self.screen.say(f"  {rollout['state']}: {rollout['summary']}")
                return rollout
            path = f"/v1/rollouts/{rollout['rollout_id']}/approve"
            body = {"approval_hash": rollout["approval_hash"]}
            try:
                await self.apis.request("deployer", "admin", "POST", path, body=body)
            except DemoFailed:  # refused, because it was approved by a request whose answer was lost?
                if ((await self._find_rollout(request_id)) or rollout)["state"] == "awaiting_approval":
                    raise
        return rollout

    async def follow_canary(self, request_id: str, temper: Temper = "honest") -> dict[str, Any]:
        """Let new users bring live traffic, one chat each, until the rollout is over; return the rollout."""
        rollout: dict[str, Any] = {}
        self.meet_newcomers(temper)

        def is_over() -> bool:
            return rollout.get("state") in FINAL_STATES

        async def watch() -> None:
            said = 0
            while not is_over():
                rollout.update(await self._find_rollout(request_id) or {})
                for stage in rollout["stages"][said:]:
                    self.screen.say(f"  canary at {stage['percent']:.0f} %")
                    said += 1
                self.screen.show(rollout["evidence"].get("summary") or rollout["summary"])
                await asyncio.sleep(POLL_SECONDS)

        async with self.stage("canary", "Canary stages take live traffic; each vote is weighed"):
            watcher = asyncio.create_task(watch())
            await self.crowd.run(self.plan.concurrency, is_over, side_by_side=0.0)
            await watcher
        self.screen.say(f"  {rollout['state']}: {rollout['summary']}")
        return rollout

    def meet_newcomers(self, temper: Temper) -> None:
        self.groups_met += 1
        self.crowd.users = newcomers(self.rng, prefix=f"newcomer-{self.groups_met}", temper=temper)
        self.crowd.questions = itertools.cycle(self.live[self.plan.most_chats :])
