"""A judge that is a model: what it prefers, and how far it agrees with the file's own choices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cli.trying.answering import Answers
from cli.trying.clock import Clock
from cli.trying.splitting import take_turns
from cli.trying.verdicts import Estimate, Measure, Score, compare, estimate
from services.curator.weighing.domain.history import LabelEvidence, PairEvidence
from services.evaluator.adapters.openai_endpoint import EndpointJudge, OpenAIEndpoint, parse_place
from services.evaluator.domain.report import JudgedPrompt
from services.evaluator.domain.votes.judged import Judged, calculate_seat_bias
from services.evaluator.handlers.judging import judge_all
from services.evaluator.ports import EndpointFailed, Judge
from shared.conversation import Conversation

MOST_PAIRS = 60
"""On which the judge's agreement is measured."""
LEAST_PAIRS = 10
"""Fewer pairs tell little of a judge; then single answers that users liked or disliked do."""
MOST_LABELS = 30
"""Liked answers, and as many disliked ones, that the judge is shown where there are too few pairs."""
MOST_UNREAD = 0.05
"""Share of prompts of which a judge that is believed may say nothing that can be read."""
SAID_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Agreement:
    """How often the judge prefers what the file's users preferred; None where there are no pairs."""

    found: Estimate | None
    seat_bias: float | None = None


def open_judge(place: str, key: str) -> Judge:
    """Open a judge. Raises: InvalidRequest: it is no address of one."""
    return EndpointJudge(OpenAIEndpoint(parse_place(place), key))


def choose_pairs(pairs: Sequence[PairEvidence], cells: Mapping[str, str]) -> list[PairEvidence]:
    """Choose the pairs that the judge is shown, so that as many regions as can be have their turn."""
    known = {pair.pair_id: pair for pair in sorted(pairs, key=lambda one: one.content)}
    turns = take_turns(list(known), {key: cells[pair.prompt_hash] for key, pair in known.items()})
    return [known[key] for key in turns[:MOST_PAIRS]]


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
    if judged.failure is not None:
        raise EndpointFailed(judged.failure)
    scores = [Score(groups[pair], float(score > 0.5) if score != 0.5 else 0.5) for pair, score in judged.scores.items()]
    return Agreement(estimate(scores), calculate_seat_bias(judged.judgements))


def choose_labels(labels: Sequence[LabelEvidence], cells: Mapping[str, str]) -> list[LabelEvidence]:
    """Choose single answers that the judge is shown: as many liked as disliked, region after region."""
    chosen = [_take_turns([one for one in labels if one.desirable is side], cells) for side in (True, False)]
    most = min(MOST_LABELS, *map(len, chosen))
    return [label for side in chosen for label in side[:most]]


def _take_turns(labels: Sequence[LabelEvidence], cells: Mapping[str, str]) -> list[LabelEvidence]:
    """Put labels in turns of their regions, one of each prompt."""
    known = {label.prompt_hash: label for label in sorted(labels, key=lambda one: one.content)}
    return [known[key] for key in take_turns(list(known), cells)]


def measure_label_agreement(
    judge: Judge,
    labels: Sequence[LabelEvidence],
    fresh: Mapping[str, str],
    conversations: Mapping[str, Conversation],
    cells: Mapping[str, str],
    clock: Clock,
) -> Agreement:
    """Ask the judge about single answers, each held against a fresh answer of the old model to the same prompt: what
    users liked should win more often than what they disliked.

    Each liked answer meets one disliked answer, once. `fresh`: by prompt hash.

    Raises: EndpointFailed: it cannot be asked.
    """
    known = [label for label in labels if label.prompt_hash in fresh]
    shown = [
        JudgedPrompt(one.label_id, conversations[one.prompt_hash].messages, one.completion, fresh[one.prompt_hash])
        for one in known
    ]
    judged = judge_all(judge, shown, {}, _watch(clock, "single answers of the file"), {}, lambda entries: None)
    if judged.failure is not None:
        raise EndpointFailed(judged.failure)
    sides = [
        [one for one in known if one.desirable is side and one.label_id in judged.scores] for side in (True, False)
    ]
    scores = [
        Score(cells[liked.prompt_hash], compare(judged.scores[liked.label_id], judged.scores[disliked.label_id]))
        for liked, disliked in zip(*sides, strict=False)
    ]
    return Agreement(estimate(scores), calculate_seat_bias(judged.judgements))


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
    return Measure("judge", judged.judge, found, agreement.found, _explain_failure(judged)), judged.scores


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
