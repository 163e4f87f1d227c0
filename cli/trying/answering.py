"""What the old model and the new one say to the held-out prompts."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.trying.clock import Clock
from local.cpu import choose_evaluation_dtype
from services.evaluator.adapters.generation_process import SubprocessGenerator
from services.evaluator.adapters.openai_endpoint import OpenAIEndpoint, is_endpoint, parse_place
from services.evaluator.domain.pair_accuracy import HeldOutPair
from services.evaluator.handlers.asking import ask_all
from services.evaluator.handlers.standalone.answers import clean_answers
from services.evaluator.ports import (
    Generated,
    GenerationJob,
    JobModel,
    JobPair,
    JobPrompt,
    Progress,
    Reply,
    summarise,
)

OLD, NEW = "old", "new"
BATCH = 16
MOST_ANSWERS = 200
LEAST_ANSWERS = 16
SHORTEST, LONGEST = 48, 256
"""Tokens of an answer."""
CHARACTERS_A_TOKEN = 3.5
SAID_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Answers:
    """By prompt hash, of both; and how much more than the old one the new model favours each held-out pair's choice."""

    old: Mapping[str, str]
    new: Mapping[str, str]
    pairs: Mapping[str, HeldOutPair]

    @property
    def both(self) -> list[str]:
        return [key for key in self.old if key in self.new]


@dataclass(frozen=True)
class First:
    """A first look at the old model: what it said, and how long an answer takes it."""

    replies: Mapping[str, Reply]
    seconds_each: float

    @property
    def texts(self) -> dict[str, str]:
        """Return what it said, by prompt hash, without its thoughts."""
        return clean_answers(summarise({OLD: dict(self.replies)}).answers[OLD])


def choose_length(texts: Sequence[str]) -> int:
    """Choose how many tokens an answer may have: 90% of the file's own would fit."""
    lengths = sorted(len(text) / CHARACTERS_A_TOKEN for text in texts) or [LONGEST]
    return int(min(max(lengths[int(0.9 * (len(lengths) - 1))] * 1.1, SHORTEST), LONGEST))


def count_affordable(seconds_each: float, seconds: float, models: int) -> int:
    """Count the prompts that so many models answer within so many seconds, within bounds."""
    fitting = int(seconds / max(seconds_each * models, 1e-9))
    return min(max(fitting, LEAST_ANSWERS), MOST_ANSWERS)


def answer_first(place: str, prompts: Sequence[JobPrompt], tokens: int, key: str, clock: Clock) -> First:
    """Have the old model answer a few prompts: it loads, or says why not, before anything is trained.

    Raises: GenerationFailed, EndpointFailed.
    """
    if is_endpoint(place):
        started = time.monotonic()
        replies = ask_endpoint(place, prompts, tokens, key, clock)
        return First(replies, (time.monotonic() - started) / max(len(prompts), 1))
    begun: list[float] = []
    kept: dict[str, Reply] = {}

    def beat(progress: Progress | None) -> None:
        if progress is not None and not begun:
            begun.append(time.monotonic())

    job = _make_job([JobModel(OLD, place)], prompts, tokens)
    SubprocessGenerator().generate(job, beat, lambda version, replies: kept.update(replies))
    return First(kept, (time.monotonic() - (begun or [time.monotonic()])[0]) / max(len(prompts), 1))


def answer_all(
    old: str, new: Path, prompts: Sequence[JobPrompt], pairs: Sequence[JobPair], first: First, tokens: int, key: str,
    clock: Clock,
) -> Answers:  # fmt: skip
    """Have both answer every prompt; what is known already is not asked again.

    Raises: GenerationFailed, EndpointFailed.
    """
    known = {each.prompt_hash: first.replies[each.prompt_hash] for each in prompts if each.prompt_hash in first.replies}
    if is_endpoint(old):
        missing = [each for each in prompts if each.prompt_hash not in known]
        theirs = summarise({OLD: known | ask_endpoint(old, missing, tokens, key, clock)})
        made = SubprocessGenerator().generate(_make_job([JobModel(NEW, str(new))], prompts, tokens), _watch(clock))
        return _join(theirs, made)
    models = [JobModel(OLD, old, dict(known)), JobModel(NEW, str(new))]
    made = SubprocessGenerator().generate(_make_job(models, prompts, tokens, pairs), _watch(clock))
    return _join(made, made)


def _make_job(
    models: Sequence[JobModel], prompts: Sequence[JobPrompt], tokens: int, pairs: Sequence[JobPair] = ()
) -> GenerationJob:
    return GenerationJob(
        models=list(models),
        prompts=list(prompts),
        max_new_tokens=tokens,
        batch_size=BATCH,
        dtype=choose_evaluation_dtype(),  # type: ignore[arg-type]
        sampling="model",
        seed=0,
        pairs=list(pairs),
    )


def _join(old: Generated, new: Generated) -> Answers:
    said = [clean_answers(made.answers.get(side, {})) for made, side in ((old, OLD), (new, NEW))]
    return Answers(said[0], said[1], new.pairs or {})


def ask_endpoint(place: str, prompts: Sequence[JobPrompt], tokens: int, key: str, clock: Clock) -> dict[str, Reply]:
    """Ask a server for an answer to each prompt. Raises: EndpointFailed."""
    endpoint, replies, by_hash = OpenAIEndpoint(parse_place(place), key), dict[str, Reply](), _index(prompts)
    say = _watch(clock)
    try:
        ask_all(
            by_hash,
            lambda each: endpoint.answer(
                by_hash[each].messages, max_tokens=tokens, seed=0, greedy=False, tools=by_hash[each].tools
            ),
            replies.__setitem__,
            lambda: say(Progress(done=len(replies), total=len(by_hash), version=OLD)),
        )
    finally:
        endpoint.close()
    return replies


def _index(prompts: Sequence[JobPrompt]) -> dict[str, JobPrompt]:
    return {each.prompt_hash: each for each in prompts}


def _watch(clock: Clock) -> Callable[[Progress | None], None]:
    """Return what says every few seconds how many answers there are, and how long the rest takes."""
    started, last = clock.passed, clock.passed

    def watch(progress: Progress | None) -> None:
        nonlocal last
        if progress is None or not progress.done or clock.passed - last < SAID_EVERY_SECONDS:
            return
        last = clock.passed
        left = (last - started) / progress.done * (progress.total - progress.done)
        clock.say(f"{progress.done} of {progress.total} answers ({progress.version} model), about {left:.0f} s left")

    return watch
