"""Both models' answers, from files and servers, with what was measured beside."""

from collections.abc import Callable
from typing import Any

import msgspec

from services.evaluator.domain.expense import pair_figures
from services.evaluator.domain.forgetting import find_solved
from services.evaluator.domain.measures.suite import SuiteItem, list_items
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.safety import find_said
from services.evaluator.handlers.standalone.order import CANDIDATE, CHAMPION, Order, World
from services.evaluator.ports import Generated, GenerationJob, JobModel, JobPrompt, Progress, summarise
from shared.answers import strip_reasoning

Beat = Callable[[int, int, str], None]


def list_suite(order: Order) -> list[SuiteItem]:
    return list_items() if order.how.suite else []


def list_job_prompts(order: Order) -> list[JobPrompt]:
    """List what both models are asked: the prompts, then the suite."""
    return [
        *(JobPrompt(prompt.prompt_hash, prompt.messages, prompt.tools) for prompt in order.prompts),
        *(JobPrompt(item.name, item.messages, item.tools) for item in list_suite(order)),
    ]


def collect_answers(order: Order, world: World, beat: Beat) -> Generated:
    """Have both models answer what they have not answered before.

    Raises:
        GenerationFailed, EndpointFailed: one of them cannot.
    """
    places = {CHAMPION: order.champion, CANDIDATE: order.candidate}
    folders = {side: place for side, place in places.items() if not world.is_endpoint(place)}
    made = Generated({}, {}, None, {}, {})
    if folders:
        made = world.generator.generate(_derive_job(order, folders), _watch(beat))
    for side in places.keys() - folders.keys():
        replies = world.asker.answer(side, places[side], order, _name_side(beat, side))
        made = _merge(made, summarise(replies))
    return made


def _name_side(beat: Beat, side: str) -> Callable[[int, int], None]:
    return lambda done, total: beat(done, total, side)


def _derive_job(order: Order, folders: dict[str, str]) -> GenerationJob:
    how = order.how
    return GenerationJob(
        models=[JobModel(side, place) for side, place in folders.items()],
        prompts=list_job_prompts(order),
        max_new_tokens=how.max_new_tokens,
        batch_size=how.batch_size,
        dtype=how.dtype,
        sampling=how.sampling,
        seed=how.seed,
    )


def _watch(beat: Beat) -> Callable[[Progress | None], None]:
    def watch(progress: Progress | None) -> None:
        if progress:
            beat(progress.done, progress.total, progress.version)

    return watch


def _merge(first: Generated, second: Generated) -> Generated:
    return Generated(
        first.answers | second.answers,
        (first.cut or {}) | (second.cut or {}),
        first.divergences,
        (first.token_counts or {}) | (second.token_counts or {}),
        (first.seconds or {}) | (second.seconds or {}),
    )


def clean_answers(answers: dict[str, str]) -> dict[str, str]:
    """Leave out what a model thought before it answered."""
    return {key: strip_reasoning(answer) for key, answer in answers.items()}


def describe_measured(order: Order, made: Generated) -> dict[str, Any]:
    """Describe what was measured beside the answers, as the gates read it."""
    candidate, champion = (clean_answers(made.answers.get(side, {})) for side in (CANDIDATE, CHAMPION))
    measured: dict[str, Any] = {
        "cut": {side: sorted((made.cut or {}).get(side, [])) for side in (CANDIDATE, CHAMPION)},
        "suite": _score_suite(order, candidate, champion, order.policy),
        "tokens": pair_figures(*((made.token_counts or {}).get(side, {}) for side in (CANDIDATE, CHAMPION))),
        "seconds": pair_figures(*((made.seconds or {}).get(side, {}) for side in (CANDIDATE, CHAMPION))),
        "kl_to_champion": None if made.divergences is None else list(made.divergences.values()),
    }
    return {name: value for name, value in measured.items() if value is not None}


def _score_suite(
    order: Order, candidate: dict[str, str], champion: dict[str, str], policy: Policy
) -> dict[str, Any] | None:
    items = list_suite(order)
    if not items:
        return None
    own = {item.name: candidate[item.name] for item in items if item.name in candidate}
    solved = msgspec.to_builtins(find_solved(items, candidate, champion))
    return {"solved": solved, "said": find_said(own, policy.safety)}
