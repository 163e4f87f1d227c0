"""A judge looks at every prompt twice, with the sides swapped the second time."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from services.evaluator.domain.report import JudgedPrompt
from services.evaluator.domain.votes.judged import Judged, Judgement
from services.evaluator.handlers.asking import ask_all
from services.evaluator.ports import EndpointFailed, Judge
from shared.rubric import RUBRIC_SHA256

Keep = Callable[[Mapping[str, Any]], None]


def judge_all(
    judge: Judge,
    prompts: Sequence[JudgedPrompt],
    groups: Mapping[str, str],
    beat: Callable[[int, int], None],
    known: Mapping[str, Any],
    keep: Keep,
) -> Judged:
    """Have every prompt judged in both orders, but for equal answers, which are ties.

    `known` holds what the judge said before, by key; `keep` takes what it says now. A judge who cannot be asked to the
    end leaves his failure in place of an exception: what he said is kept.
    """
    said: dict[str, float | None] = dict(known)
    asked = {key: sides for prompt in prompts for key, sides in _derive_looks(prompt).items() if key not in said}

    def take(key: str, preference: float | None) -> None:
        said[key] = preference
        if preference is not None:
            keep({key: preference})

    failure = None
    try:
        ask_all(asked, lambda key: judge.prefer(*asked[key]), take, lambda: beat(len(said) - len(known), len(asked)))
    except EndpointFailed as error:
        failure = error.detail
    judgements = [_derive(prompt, groups.get(prompt.prompt_hash, prompt.prompt_hash), said) for prompt in prompts]
    return Judged(judge=judge.name, rubric_sha256=RUBRIC_SHA256, judgements=judgements, failure=failure)


def _derive_looks(prompt: JudgedPrompt) -> dict[str, tuple[Any, str, str]]:
    """Return what the judge is shown, by key: the candidate first, and second."""
    if prompt.candidate.strip() == prompt.champion.strip():
        return {}
    sides = (prompt.candidate, prompt.champion)
    return {_name(prompt, *order): (prompt.messages, *order) for order in (sides, sides[::-1])}


def _name(prompt: JudgedPrompt, first: str, second: str) -> str:
    return hashlib.sha256(msgspec.json.encode([prompt.messages, first, second], order="sorted")).hexdigest()


def _derive(prompt: JudgedPrompt, group: str, said: Mapping[str, float | None]) -> Judgement:
    if prompt.candidate.strip() == prompt.champion.strip():
        return Judgement(prompt_hash=prompt.prompt_hash, group=group, first=0.5, second=0.5)
    first = said.get(_name(prompt, prompt.candidate, prompt.champion))
    second = said.get(_name(prompt, prompt.champion, prompt.candidate))
    return Judgement(
        prompt_hash=prompt.prompt_hash, group=group, first=first, second=None if second is None else 1 - second
    )
