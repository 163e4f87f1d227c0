"""Every candidate of a request answers the same prompts; the champion answers them once."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog

from services.evaluator.ports import Generated, GenerationFailed, JobPrompt, Progress, Reply
from shared.answers import strip_reasoning

logger = structlog.get_logger(__name__)

ATTEMPTS = 3
"""How often a candidate is asked that cannot answer while the others can."""

Ask = Callable[[str, dict[str, Reply], Callable[[Progress | None], None]], Generated]
"""Has a candidate and the champion answer, of whom these replies are known."""
Answered = dict[str, Generated | GenerationFailed]


def ask_entrants(
    versions: Sequence[str],
    champion: str,
    prompts: Sequence[JobPrompt],
    ask: Ask,
    watch: Callable[[Progress | None], None],
) -> Answered:
    """Return, by version, what each candidate and the champion said, or why the candidate could not.

    Raises:
        GenerationFailed: nobody could answer, or it is not a candidate's own fault.
    """
    answered: Answered = {}
    known: dict[str, Reply] = {}
    for place, version in enumerate(versions):
        again = partial(ask, version, known, _shift(watch, place, len(versions)))
        answered[version] = made = _ask_again(version, again, len(versions))
        if isinstance(made, Generated) and not known:
            known = recall(made, champion, prompts)
    failures = [made for made in answered.values() if isinstance(made, GenerationFailed)]
    if len(failures) == len(versions):
        raise failures[0]
    return answered


def _ask_again(version: str, ask: Callable[[], Generated], entrants: int) -> Generated | GenerationFailed:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except GenerationFailed as error:
            if error.version != version or entrants == 1:
                raise
            failure = error
            logger.warning("candidate_did_not_answer", version=version, attempt=attempt, reason=error.detail)
    return failure


def recall(made: Generated, version: str, prompts: Sequence[JobPrompt]) -> dict[str, Reply]:
    """Return what a version said as replies that need not be generated again; a refused prompt has no text."""
    answers, counts = made.answers.get(version, {}), (made.token_counts or {}).get(version, {})
    cut = set((made.cut or {}).get(version, []))
    return {
        prompt.prompt_hash: Reply(
            text=answers.get(prompt.prompt_hash),
            token_count=counts.get(prompt.prompt_hash),
            is_cut=prompt.prompt_hash in cut,
        )
        for prompt in prompts
    }


def _shift(watch: Callable[[Progress | None], None], place: int, entrants: int) -> Callable[[Progress | None], None]:
    """Return what reports one candidate's progress as a part of all candidates'."""

    def report(progress: Progress | None) -> None:
        if progress is None:
            return watch(None)
        done, total = place * progress.total + progress.done, entrants * progress.total
        return watch(Progress(done=done, total=total, version=progress.version))

    return report


def describe_answered(made: Generated, champion: str, version: str) -> dict[str, Any]:
    """Describe what was measured beside the answers: whose were cut, and how far the candidate has moved."""
    sides = {"candidate": version, "champion": champion}
    measured: dict[str, Any] = {}
    if made.cut is not None:
        measured["cut"] = {side: sorted(made.cut.get(own, [])) for side, own in sides.items()}
    if made.divergences is not None:
        measured["kl_to_champion"] = list(made.divergences.values())
    if made.pairs is not None:
        measured["held_out_pairs"] = msgspec.to_builtins(list(made.pairs.values()))
    return measured


def describe_failure(error: GenerationFailed) -> dict[str, Any]:
    return {"failure": {"summary": error.detail, "version": error.version}}


def read_generation(generation: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return how one candidate's answers came about: what is common to all, and its own."""
    common = {name: value for name, value in generation.items() if name != "entrants"}
    own: dict[str, Any] = generation.get("entrants", {}).get(version, {})
    return common | own


def derive_progress(progress: Progress, seconds: float) -> dict[str, Any]:
    """Describe the progress; `seconds_left` supposes that the rest goes as fast as what is done, loading included."""
    left = seconds / progress.done * (progress.total - progress.done) if progress.done else None
    done: dict[str, Any] = msgspec.to_builtins(progress)
    return done | {"seconds_left": None if left is None else round(left, 1)}


def clean_answers(answers: dict[str, str]) -> dict[str, str]:
    """Leave out what a model thought before it answered, and NUL, which Postgres stores in no text."""
    return {
        prompt_hash: strip_reasoning(answer).replace("\0", "\N{REPLACEMENT CHARACTER}")
        for prompt_hash, answer in answers.items()
    }
