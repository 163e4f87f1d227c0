"""What is measured beside the loop, for the report: held-out answers, a plain baseline, users held back, divergence."""

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from local.demo.answers import Answered, Contestant
from local.demo.stages import POLL_SECONDS, Stages
from local.demo.subprocesses import run_child
from local.simulation.prompts import Question, draw_held_out_questions

DIVERGENCE_SECONDS = 600.0


async def compare_holdback(stages: Stages, rollout_id: str, votes: int) -> dict[str, Any]:
    """Let newcomers chat until users held back on the previous champion cast `votes`; positive rates of both."""
    found: dict[str, dict[str, int]] = {}

    def is_enough() -> bool:
        return found.get("holdback", {}).get("votes", 0) >= votes

    async def watch() -> None:
        while not is_enough():
            rollout = await stages.apis.read("deployer", f"/v1/rollouts/{rollout_id}")
            found.update(rollout["evidence"].get("since_promotion", {}))
            held = found.get("holdback", {}).get("votes", 0)
            stages.screen.show(f"{held} of {votes} votes of users held back", held, votes)
            await asyncio.sleep(POLL_SECONDS)

    stages.meet_newcomers("honest")
    async with stages.stage("holdback", "Some users stay on the previous champion; both are compared"):
        watcher = asyncio.create_task(watch())
        await stages.crowd.run(stages.plan.concurrency, is_enough, side_by_side=0.0)
        await watcher
    rates = {arm: counts["ups"] / counts["votes"] if counts["votes"] else None for arm, counts in found.items()}
    champion, holdback = rates["champion"], rates["holdback"]
    difference = champion - holdback if champion is not None and holdback is not None else None
    return {"champion": champion, "holdback": holdback, "difference": difference, "votes": found}


async def measure(stages: Stages, contestants: Mapping[str, Contestant], rng: Random) -> list[Answered]:
    """Let every contestant answer the same held-out prompts."""
    questions = draw_held_out_questions(stages.plan.held_out_prompts, rng)
    answered: list[Answered] = []
    started = time.monotonic()
    slots = asyncio.Semaphore(stages.plan.concurrency)

    async def ask(question: Question) -> None:
        async with slots:
            texts = await asyncio.gather(*(_probe(stages, question, each) for each in contestants.values()))
        answered.append(Answered(question, dict(zip(contestants, texts, strict=True))))
        left = (time.monotonic() - started) * (len(questions) / len(answered) - 1)
        stages.screen.show(f"{len(answered)} of {len(questions)} prompts", len(answered), len(questions), left)

    title = "Old and new model answer prompts from templates that nobody has seen"
    async with stages.stage("measure", title), asyncio.TaskGroup() as group:
        for question in questions:
            group.create_task(ask(question))
    return sorted(answered, key=lambda each: each.question.text)


async def tune_plainly(
    stages: Stages, parent_folder: str, dataset_sha256: str, answered: list[Answered], name: str
) -> list[Answered]:
    """Let a plain SFT on the chosen answers of the dataset, outside the loop, answer the same prompts as `name`."""

    def show(doing: str, done: int, total: int) -> None:
        stages.screen.show(f"{doing} {done} of {total}", done, total)

    title = "A baseline for comparison: plain SFT on the chosen answers, outside the loop"
    async with stages.stage("baseline", title):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "questions.json")
            path.write_text(json.dumps([each.question.messages for each in answered]))
            data = stages.datasets / dataset_sha256 / "train.parquet"
            arguments = (parent_folder, str(data), stages.plan.recipe, str(path), str(stages.plan.max_tokens))
            told = await run_child(
                "local.models.sft", *arguments, deadline=stages.plan.seconds_for["baseline"], on_progress=show
            )
    return [
        replace(each, texts={**each.texts, name: text}) for each, text in zip(answered, told["answers"], strict=True)
    ]


async def measure_divergence(model: str, anchor: str, answers: Sequence[tuple[list[dict[str, str]], str]]) -> float:
    """KL(model || anchor) in nats a token, on the model's own `answers` (messages, text); both are checkpoint folders.

    Raises:
        DemoFailed: the child failed or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answers.json")
        path.write_text(json.dumps(answers))
        return float((await run_child("local.models.kl", model, anchor, str(path), deadline=DIVERGENCE_SECONDS))["kl"])


async def _probe(stages: Stages, question: Question, contestant: Contestant) -> str:
    told = [{"role": "system", "content": contestant.instruction}] if contestant.instruction else []
    answer = await stages.apis.chat(
        [*told, *question.messages], user="demo", max_tokens=stages.plan.max_tokens, version=contestant.version
    )
    return answer.text
