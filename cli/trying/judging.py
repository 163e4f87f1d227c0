"""A judge that is a model: what it prefers, and how far it agrees with the file's own choices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from cli.trying.answering import Answers
from cli.trying.clock import Clock
from cli.trying.verdicts import Estimate, Measure, Score, compare, estimate
from services.curator.weighing.domain.history import LabelEvidence, PairEvidence
from services.evaluator.adapters.openai_endpoint import EndpointJudge, OpenAIEndpoint, parse_place
from services.evaluator.domain.report import JudgedPrompt
from services.evaluator.domain.votes.judged import Judged, calculate_seat_bias
from services.evaluator.handlers.judging import judge_all
from services.evaluator.ports import EndpointFailed, Judge
from shared.conversation import Conversation
from shared.events import Message

MOST_PAIRS = 60
"""On which the judge's agreement is measured."""
LEAST_PAIRS = 10
"""Fewer pairs tell little of a judge; then single answers that users liked or disliked do."""
MOST_LABELS = 30
"""Liked answers, and as many disliked ones, that the judge is shown where there are too few pairs."""
LabelPair = tuple[LabelEvidence, LabelEvidence]
"""A liked answer and a disliked one."""
MOST_UNREAD = 0.05
"""Share of prompts of which a judge that is believed may say nothing that can be read."""
SAID_EVERY_SECONDS = 5.0
PROBE_SECONDS = 30.0
"""A judge that takes longer for one short comparison takes hours for all of them."""
PROBED: list[Message] = [{"role": "user", "content": "What time is it?"}]


@dataclass(frozen=True)
class Agreement:
    """How often the judge prefers what the file's users preferred; None where there are no pairs."""

    found: Estimate | None
    seat_bias: float | None = None
    """How much oftener than every other time it prefers whichever answer stands first."""
    failure: str | None = None
    """Why what it said cannot be used."""


def open_judge(place: str, key: str) -> Judge:
    """Open a judge. Raises: InvalidRequest: it is no address of one."""
    return EndpointJudge(OpenAIEndpoint(parse_place(place), key))


def probe(place: str, key: str) -> None:
    """Have a judge say once which of two answers is better, before anything else is done.

    Raises: EndpointFailed: it does not answer in time, or nothing that names a winner.
    """
    endpoint = OpenAIEndpoint(parse_place(place), key)
    endpoint.client.timeout = httpx.Timeout(PROBE_SECONDS, connect=5.0)
    try:
        said = EndpointJudge(endpoint).prefer(PROBED, "It is 8 o'clock.", "Bananas are yellow.")
    finally:
        endpoint.close()
    if said is None:
        raise EndpointFailed(f"{endpoint.place.name} answers, but names no winner that can be read")


def measure_agreement(
    judge: Judge,
    pairs: Sequence[PairEvidence],
    conversations: Mapping[str, Conversation],
    cells: Mapping[str, str],
    clock: Clock,
) -> Agreement:
    """Ask the judge about pairs of which users said which side is better.

    Raises: EndpointFailed: it cannot be asked.
    """
    shown = [
        JudgedPrompt(pair.pair_id, conversations[pair.prompt_hash].messages, pair.chosen, pair.rejected)
        for pair in pairs
    ]
    groups = {pair.pair_id: cells[pair.prompt_hash] for pair in pairs}
    judged = judge_all(judge, shown, groups, _watch(clock, "choices of the file"), {}, lambda entries: None)
    return _conclude(judged, [Score(groups[pair], compare(score, 0.5)) for pair, score in judged.scores.items()])


def pair_labels(labels: Sequence[LabelEvidence], cells: Mapping[str, str], most: int = MOST_LABELS) -> list[LabelPair]:
    """Pair liked answers with disliked ones, no region in two pairs: a subject that users or the judge dislike as a
    whole counts once.

    Both are of one region where it has both; else they are of two that have one kind each.
    """
    liked, disliked = ({cells[one.prompt_hash]: one for one in _put_last(labels, side)} for side in (True, False))
    pairs = [(liked[cell], disliked[cell]) for cell in liked if cell in disliked]
    alone = [
        [one for cell, one in own.items() if cell not in other] for own, other in ((liked, disliked), (disliked, liked))
    ]
    return [*pairs, *zip(*alone, strict=False)][:most]


def _put_last(labels: Sequence[LabelEvidence], side: bool) -> list[LabelEvidence]:
    return sorted((one for one in labels if one.desirable is side), key=lambda one: one.content)


def measure_label_agreement(
    judge: Judge,
    pairs: Sequence[LabelPair],
    fresh: Mapping[str, str],
    conversations: Mapping[str, Conversation],
    cells: Mapping[str, str],
    clock: Clock,
) -> Agreement:
    """Ask the judge about single answers, each held against a fresh answer of the old model to the same prompt: of each
    pair, what users liked should win more often than what they disliked.

    `fresh`: by prompt hash.

    Raises: EndpointFailed: it cannot be asked.
    """
    shown = [
        JudgedPrompt(one.label_id, conversations[one.prompt_hash].messages, one.completion, fresh[one.prompt_hash])
        for one in (label for pair in pairs for label in pair)
        if one.prompt_hash in fresh
    ]
    judged = judge_all(judge, shown, {}, _watch(clock, "single answers of the file"), {}, lambda entries: None)
    return _conclude(judged, score_labels(pairs, judged.scores, cells))


def score_labels(pairs: Sequence[LabelPair], said: Mapping[str, float], cells: Mapping[str, str]) -> list[Score]:
    """Score each pair by what the judge said of both labels, by their ids."""
    return [
        Score(cells[liked.prompt_hash], compare(said[liked.label_id], said[disliked.label_id]))
        for liked, disliked in pairs
        if liked.label_id in said and disliked.label_id in said
    ]


def _conclude(judged: Judged, scores: Sequence[Score]) -> Agreement:
    if judged.failure is not None:
        raise EndpointFailed(judged.failure)
    return Agreement(estimate(scores), calculate_seat_bias(judged.judgements), _explain_failure(judged))


def measure_by_judge(
    judge: Judge,
    answers: Answers,
    conversations: Mapping[str, Conversation],
    cells: Mapping[str, str],
    agreement: Agreement,
    clock: Clock,
) -> tuple[Measure, dict[str, float]]:
    """Ask the judge about both models' answers to each held-out prompt, in both orders; also returns its scores."""
    shown = [JudgedPrompt(key, conversations[key].messages, answers.new[key], answers.old[key]) for key in answers.both]
    judged = judge_all(judge, shown, cells, _watch(clock, "comparisons"), {}, lambda entries: None)
    found = estimate([Score(cells[key], score) for key, score in judged.scores.items()])
    failure = _explain_failure(judged)
    return Measure("judge", judged.judge, found, agreement.found, failure, agreement.seat_bias), judged.scores


def _explain_failure(judged: Judged) -> str | None:
    """Explain why what a judge said cannot be used; None if it can."""
    if judged.failure is not None:
        return f"the judge could not be asked to the end: {judged.failure}"
    asked, read = len(judged.judgements), len(judged.scores)
    if asked - read > MOST_UNREAD * asked:
        return f"the judge said nothing that can be read of {asked - read} of {asked} prompts"
    return None


def _watch(clock: Clock, what: str) -> Callable[[int, int], None]:
    started, last = clock.passed, clock.passed

    def watch(done: int, total: int) -> None:
        nonlocal last
        if not done or clock.passed - last < SAID_EVERY_SECONDS:
            return
        last = clock.passed
        left = (last - started) / done * (total - done)
        clock.say(f"the judge has looked {done} of {total} times at {what}, about {left:.0f} s left")

    return watch
