"""The heart of a try: train, have both models answer, and measure whose answers are better."""

import os
import secrets
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.trying import answering, judging, rewarding
from cli.trying.answering import Answers, First
from cli.trying.clock import Clock
from cli.trying.datasets import Curation, count_rows, divide, write_snapshot
from cli.trying.judging import Agreement
from cli.trying.learning import Trained, count_parameters, train
from cli.trying.models import Tried
from cli.trying.rating.server import serve
from cli.trying.rating.session import Session, choose_looks
from cli.trying.recipes import draft_recipe, draft_reward_recipe, explain_thin
from cli.trying.reporting.content import Outcome
from cli.trying.splitting import choose_pairs, take_turns
from cli.trying.verdicts import LEAST_UNITS, Estimate, Measure, decide, decide_early
from local.errors import StackFailed
from services.curator.datasets.domain.snapshot import Snapshot
from services.curator.weighing.domain.history import PairEvidence
from services.evaluator.ports import GenerationFailed, JobPair, JobPrompt, Judge
from services.trainer.adapters.artifacts.holdings import count_holdings
from services.trainer.domain.training import Interrupted
from shared.errors import HeliotropeError

MODEL_KEY = "HELIOTROPE_TRY_KEY_MODEL"
FIRST_PROMPTS = 8
AGREEMENT_SHARE, TRAINING_SHARE, ANSWERING_SHARE = 0.1, 0.5, 0.5
"""Of the time that is left when each begins; measuring has what is over."""
LONGEST_RATING_SECONDS = 4 * 3600.0


@dataclass(frozen=True)
class Contest:
    """What is held against each other, by whom, and how long it may take."""

    curation: Curation
    tried: Tried
    judge: Judge | None
    rate: bool
    clock: Clock

    @property
    def wants_reward_model(self) -> bool:
        """Say whether nobody else judges, and there are pairs enough to fit a judge on some of them, and to try it."""
        if self.judge is not None or self.rate or len(self.curation.snapshot.train) < rewarding.LEAST_PAIRS:
            return False
        regions = {self.cells[pair.prompt_hash] for pair in list_unseen(self.curation)}
        return len(regions) >= LEAST_UNITS and not any(explain_thin(count_rows(part)) for part in divide(self.curation))

    @property
    def cells(self) -> Mapping[str, str]:
        return self.curation.splits.cells

    @property
    def key(self) -> str:
        """Return the key of the model's server, if it is behind one."""
        return os.environ.get(MODEL_KEY, "")


def compare(outcome: Outcome, contest: Contest) -> None:
    """Train, have both models answer, measure, and note it all in the outcome. Where nothing could be said, however it
    came out, that is the outcome before the model is trained.

    Raises: StackFailed: the model does not load, the judge does not answer, or training failed; says what would do.
    """
    clock, curation = contest.clock, contest.curation
    policy, reward = divide(curation) if contest.wants_reward_model else (curation.snapshot, None)
    if not (contest.judge or contest.rate or reward) and ends_early(outcome, None, clock):
        return
    prompts = list_prompts(curation)
    tokens = answering.choose_length([answer.text for answer in outcome.reading.evidence.answers.values()])
    with clear_failures(contest.tried):
        clock.say("a first look at the model's answers")
        first = answering.answer_first(contest.tried.old, prompts[:FIRST_PROMPTS], tokens, contest.key, clock)
        agreement = find_agreement(contest, first, tokens)
        if contest.judge is not None and ends_early(outcome, describe_judge(contest.judge, agreement), clock):
            return
        seconds = clock.left * TRAINING_SHARE / (2 if reward else 1)
        judging_model = train_reward_model(reward, contest, outcome.folder, seconds) if reward else None
        accuracy = measure_reward_model(judging_model, contest) if judging_model else None
        if judging_model and ends_early(outcome, Measure("reward_model", rewarding.NAME, None, accuracy), clock):
            return
        clock.say("training the model")
        outcome.trained = train_policy(policy, contest, outcome.folder, seconds)
        outcome.answers = answer(contest, outcome.trained, prompts, first, tokens)
        measured = measure(outcome.answers, contest, agreement, judging_model, accuracy)
    outcome.measure, outcome.scores = measured
    outcome.decision = decide(outcome.measure)


def ends_early(outcome: Outcome, measure: Measure | None, clock: Clock) -> bool:
    """Say whether it is known before the model is trained that nothing can be said of it; the outcome says why."""
    decision = decide_early(measure)
    if decision is None:
        return False
    outcome.measure, outcome.decision = measure, decision
    clock.say(f"nothing is trained for it: {decision.because}")
    return True


def describe_judge(judge: Judge, agreement: Agreement) -> Measure:
    """Describe the judge as a measure that has not measured yet."""
    return Measure("judge", judge.name, None, agreement.found, agreement.failure, agreement.seat_bias)


@contextmanager
def clear_failures(tried: Tried) -> Iterator[None]:
    """Say of a failure what to do about it. Raises: StackFailed."""
    try:
        yield
    except GenerationFailed as error:
        raise StackFailed(
            f"the model {tried.name} does not answer: {error.detail}. Its folder must load with transformers' "
            "AutoModelForCausalLM and have a chat template"
        ) from None
    except Interrupted:
        raise StackFailed("interrupted while training: nothing was decided") from None
    except HeliotropeError as error:
        raise StackFailed(error.detail) from None


def list_prompts(curation: Curation) -> list[JobPrompt]:
    """List the held-out prompts in the order in which they are used: region after region."""
    keys = take_turns(curation.held_out.prompts, curation.splits.cells)[: answering.MOST_ANSWERS]
    return [_make_prompt(curation, key) for key in keys]


def find_agreement(contest: Contest, first: First, tokens: int) -> Agreement:
    """Measure how far the judge agrees with the file's users, held-out evidence and other: it was trained on none."""
    if contest.judge is None:
        return Agreement(None)
    contest.clock.say("asking the judge about what the file's own users said")
    curation, snapshot = contest.curation, contest.curation.snapshot
    pairs = [*curation.held_out.pairs, *(pair.item for pair in snapshot.pairs)]
    told = contest.curation.conversations, contest.cells, contest.clock
    if len(pairs) >= judging.LEAST_PAIRS:
        return judging.measure_agreement(contest.judge, choose_pairs(pairs, contest.cells, judging.MOST_PAIRS), *told)
    labels = [*curation.held_out.labels, *(label.item for label in snapshot.labels)]
    affordable = answering.count_affordable(first.seconds_each, contest.clock.left * AGREEMENT_SHARE, 2)
    chosen = judging.pair_labels(labels, contest.cells, min(affordable, judging.MOST_LABELS))
    keys = list(dict.fromkeys(label.prompt_hash for pair in chosen for label in pair))
    prompts = [_make_prompt(curation, key) for key in keys]
    fresh = answering.answer_first(contest.tried.old, prompts, tokens, contest.key, contest.clock).texts if keys else {}
    return judging.measure_label_agreement(contest.judge, chosen, fresh, *told)


def _make_prompt(curation: Curation, key: str) -> JobPrompt:
    return JobPrompt(key, curation.conversations[key].messages, curation.conversations[key].tools)


def train_policy(snapshot: Snapshot, contest: Contest, folder: Path, seconds: float) -> Trained:
    """Train the model, or the student, on what the users said."""
    base = contest.tried.base
    assert base is not None
    dataset = write_snapshot(folder / "datasets", snapshot, contest.curation, "try")
    recipe = draft_recipe(count_holdings(dataset), count_parameters(base))
    return train(recipe, base, dataset, folder / "policy", seconds, contest.clock)


def train_reward_model(snapshot: Snapshot, contest: Contest, folder: Path, seconds: float) -> Path:
    """Train a reward model on what the policy did not see; returns its folder."""
    base = contest.tried.base
    assert base is not None
    contest.clock.say(f"training a reward model on {len(snapshot.train)} other pairs")
    dataset = write_snapshot(folder / "datasets", snapshot, contest.curation, "try")
    recipe = draft_reward_recipe(len(snapshot.train), count_parameters(base))
    return train(recipe, base, dataset, folder / "reward", seconds, contest.clock).candidate


def answer(contest: Contest, trained: Trained, prompts: list[JobPrompt], first: First, tokens: int) -> Answers:
    """Have both models answer as many held-out prompts as the time allows."""
    most = answering.count_affordable(first.seconds_each, contest.clock.left * ANSWERING_SHARE, 2)
    shown = prompts[:most]
    contest.clock.say(f"both models answer {len(shown)} held-out prompts")
    kept = {prompt.prompt_hash: prompt for prompt in shown}
    pairs = [
        JobPair(
            pair_id=pair.pair_id,
            group=contest.cells[pair.prompt_hash],
            prompt=kept[pair.prompt_hash],
            chosen=pair.chosen,
            rejected=pair.rejected,
        )
        for pair in contest.curation.held_out.pairs
        if pair.prompt_hash in kept
    ]
    return answering.answer_all(
        contest.tried.old, trained.candidate, shown, pairs, first, tokens, contest.key, contest.clock
    )


def measure(
    answers: Answers, contest: Contest, agreement: Agreement, reward_model: Path | None, accuracy: Estimate | None
) -> tuple[Measure | None, Mapping[str, float]]:
    """Measure whose answers are better, with the new one's scores; None: nobody can tell."""
    conversations, cells = contest.curation.conversations, contest.cells
    if contest.rate:
        return rate(answers, contest)
    if contest.judge is not None:
        contest.clock.say("the judge compares both models' answers")
        return judging.measure_by_judge(contest.judge, answers, conversations, cells, agreement, contest.clock)
    if reward_model is None:
        return None, {}
    contest.clock.say("the reward model compares both models' answers")
    return rewarding.measure_by_reward(reward_model, answers, conversations, cells, accuracy)


def measure_reward_model(model: Path, contest: Contest) -> Estimate | None:
    """Measure how far the reward model may be believed."""
    unseen = list_unseen(contest.curation)
    return rewarding.measure_accuracy(model, unseen, contest.curation.conversations, contest.cells)


def list_unseen(curation: Curation) -> list[PairEvidence]:
    """List pairs that a reward model was not fitted on, nor the policy trained: as many as are scored in good time."""
    unseen = [*curation.held_out.pairs, *(pair.item for pair in curation.snapshot.validation)]
    return choose_pairs(unseen, curation.splits.cells, rewarding.MOST_UNSEEN)


def rate(
    answers: Answers, contest: Contest, open_page: Callable[[str], object] = webbrowser.open
) -> tuple[Measure, Mapping[str, float]]:
    """Have the user compare both models' answers on a page of this machine, until it is clear or he has had enough."""
    seed = secrets.token_hex(8)
    looks = choose_looks(answers, contest.curation.splits, seed)
    session = Session(looks, contest.curation.conversations, answers, seed)
    if session.is_over:
        return session.measure(), session.scores
    with serve(session) as page:
        contest.clock.say(f"compare the answers at {page.url}")
        open_page(page.url)
        page.wait(LONGEST_RATING_SECONDS)
    return session.measure(), session.scores
