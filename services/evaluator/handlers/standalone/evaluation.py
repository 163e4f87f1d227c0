"""From two models and some prompts to a report: answers, judge, votes, gates."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from services.evaluator.domain.contamination import TrainingTexts, collides
from services.evaluator.domain.gates import assess_all
from services.evaluator.domain.policy import calculate_policy_sha256, dump_policy
from services.evaluator.domain.prompts import GatePrompt
from services.evaluator.domain.report import (
    JudgedPrompt,
    Subject,
    derive_report,
    encode_json,
    encode_report,
    split_texts,
)
from services.evaluator.domain.report_page import render_page
from services.evaluator.domain.votes.ballots import Ballot
from services.evaluator.domain.votes.comparisons import derive_comparisons
from services.evaluator.handlers.judging import judge_all
from services.evaluator.handlers.standalone.answers import clean_answers, collect_answers, describe_measured
from services.evaluator.handlers.standalone.order import CANDIDATE, CHAMPION, Order, Tell, World
from services.evaluator.handlers.standalone.tasks import run_tasks
from services.evaluator.handlers.standalone.voting import derive_ballots, write_comparisons
from services.evaluator.ports import EndpointFailed, Generated, GenerationFailed
from shared.conversation import derive_dialogue

TELL_SECONDS = 5.0


def evaluate(order: Order, world: World, tell: Tell) -> dict[str, Any]:
    """Evaluate, write the report into the order's folder, and return it.

    What cannot be measured is in the report as an error, never as a pass.

    Raises:
        InvalidRequest: a vote is on another comparison.
    """
    order, examined = _leave_out_trained(order)
    stated = _state(order, world) | examined
    try:
        made = collect_answers(order, world, _report_progress(tell, "answers"))
    except (GenerationFailed, EndpointFailed) as error:
        side = getattr(error, "version", None)
        told = f"{f'the {side}: ' if side else ''}{error.detail}"
        return _finish(order, stated | {"failure": {"summary": told, "version": None}}, [], [])
    return _judge(order, world, made, stated, tell)


def _leave_out_trained(order: Order) -> tuple[Order, dict[str, Any]]:
    if order.training is None:
        return order, {"gate_prompts": len(order.prompts)}
    training = TrainingTexts.index(list(order.training))
    clean = [prompt for prompt in order.prompts if not collides(derive_dialogue(prompt.messages), training)]
    return replace(order, prompts=clean), {
        "gate_prompts": len(order.prompts),
        "colliding": len(order.prompts) - len(clean),
        "training_texts": len(training.texts),
    }


def _state(order: Order, world: World) -> dict[str, Any]:
    return {
        "policy": dump_policy(order.policy),
        "policy_sha256": calculate_policy_sha256(order.policy),
        "prompts": len(order.prompts),
        "regions": _name_groups(order.prompts),
        "settings": msgspec.to_builtins(order.how),
        "serving": {CANDIDATE: world.describe(order.candidate), CHAMPION: world.describe(order.champion)},
        "not_measured": _list_not_measured(order, world),
    }


def _list_not_measured(order: Order, world: World) -> dict[str, str]:
    """Say what this evaluation cannot know, and why."""
    missing = {"harmful answers": "no users' complaints are known here"}
    if order.training is None:
        missing["contamination"] = "no training texts were given (--training)"
    if world.is_endpoint(order.candidate) or world.is_endpoint(order.champion):
        missing["kl_to_champion"] = "a server keeps its probabilities to itself"
    if not (world.is_endpoint(order.candidate) and world.is_endpoint(order.champion)):
        missing["latency"] = "only servers are timed, both of them"
    if world.judge is None:
        missing["judged_win_rate"] = "no judge was named (--judge)"
    if order.tasks is None:
        missing["tasks"] = "no task files were named (--tasks)"
    if not order.how.suite:
        missing["forgetting"] = "the suite was left out (--no-suite)"
    return missing


def _judge(order: Order, world: World, made: Generated, stated: dict[str, Any], tell: Tell) -> dict[str, Any]:
    candidate, champion = (clean_answers(made.answers.get(side, {})) for side in (CANDIDATE, CHAMPION))
    drafts = derive_comparisons(order.prompts, champion, candidate, str(order.how.seed), order.policy.win_rate)
    order.output.mkdir(parents=True, exist_ok=True)
    file = write_comparisons(drafts, order.output, order.policy.win_rate.seats)
    ballots = derive_ballots(drafts, order.votes)
    prompts = [
        JudgedPrompt(
            each.prompt_hash, each.messages, candidate[each.prompt_hash], champion[each.prompt_hash], each.cell
        )
        for each in order.prompts
        if each.prompt_hash in candidate and each.prompt_hash in champion
    ]
    stated = stated | describe_measured(order, made) | {"unanswered": len(order.prompts) - len(prompts)}
    stated |= run_tasks(order, world)
    if world.judge is not None:
        progress = _report_progress(tell, "judgements")
        judged = judge_all(
            world.judge,
            prompts,
            _name_groups(order.prompts),
            lambda done, total: progress(done, total, "judge"),
            world.judged_before,
            world.keep_judged,
        )
        stated["judged"] = msgspec.to_builtins(judged)
    if not order.votes:
        tell(f"people may judge {file}; give their votes with --votes")
    return _finish(order, stated, prompts, ballots)


def _name_groups(prompts: Sequence[GatePrompt]) -> dict[str, str]:
    return {prompt.prompt_hash: prompt.cell for prompt in prompts}


def _finish(
    order: Order, stated: dict[str, Any], prompts: Sequence[JudgedPrompt], ballots: Sequence[Ballot]
) -> dict[str, Any]:
    gates = assess_all(order.candidate, stated, prompts, ballots, order.policy)
    subject = Subject(
        evaluation_id=str(uuid4()),
        request_id=None,
        run_id=None,
        candidate_version=order.candidate,
        champion_version=order.champion,
        dataset_sha256=None,
        weights_sha256=None,
        recipe_sha256=None,
    )
    report = derive_report(subject, gates, prompts, ballots, stated, datetime.now(UTC))
    write_report(report, order.output)
    return report


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write the report, its texts and its page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_bytes(encode_report(report))
    (folder / "texts.json").write_bytes(encode_json(split_texts(report)[1]))
    (folder / "report.html").write_text(render_page(report), encoding="utf-8")


def _report_progress(tell: Tell, what: str) -> Callable[[int, int, str], None]:
    """Return what says every few seconds how far the work is, and how long the rest takes at this pace."""
    began: dict[str, tuple[float, int]] = {}
    last = 0.0

    def report(done: int, total: int, side: str) -> None:
        nonlocal last
        now = time.monotonic()
        started, before = began.setdefault(side, (now, done))
        if now - last < TELL_SECONDS or done == before:
            return
        last = now
        left = (now - started) / (done - before) * (total - done)
        tell(f"{done} of {total} {what} ({side}), about {left:.0f} s left")

    return report
