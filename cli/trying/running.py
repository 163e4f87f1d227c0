"""A try from beginning to end: read, split, train, answer, measure, decide."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.exchange.found import Options
from cli.trying.clock import Clock
from cli.trying.comparing import Contest, compare
from cli.trying.datasets import Curation, count_rows, curate_evidence
from cli.trying.evidence import read_files
from cli.trying.folders import find_folder, make_folder
from cli.trying.judging import open_judge, probe
from cli.trying.models import find_models
from cli.trying.recipes import LEAST_ROWS, explain_thin
from cli.trying.reporting.content import Outcome
from cli.trying.verdicts import LEAST_UNITS, Decision
from local.errors import StackFailed
from services.curator.cells.adapters.choice import open_embedder
from services.curator.config.settings import CuratorSettings
from services.evaluator.ports import EndpointFailed, Judge
from shared.errors import InvalidRequest
from shared.settings import load_settings

JUDGE_KEY = "HELIOTROPE_TRY_KEY_JUDGE"


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line."""

    files: Sequence[Path]
    model: str
    output: Path | None
    """None: a new folder beside those of earlier tries."""
    source: str | None = None
    student: str | None = None
    judge: str | None = None
    rate: bool = False
    options: Options = field(default_factory=Options)


def run_try(wanted: Wanted, clock: Clock) -> Outcome:
    """Try it, and return what was found; whatever the file holds, there is an outcome.

    Raises:
        StackFailed: a file, a model or a judge cannot be used; says what would do.
    """
    judge = find_judge(wanted.judge)
    tried = find_models(wanted.model, wanted.student)
    folder = find_folder(wanted.output)
    if wanted.judge:
        check_judge(wanted.judge, clock)
    reading = read_files(wanted.files, wanted.source, wanted.options, clock)
    make_folder(folder)
    clock.say(f"{reading.tally.records:,} records of {reading.source}, {len(reading.evidence.answers):,} answers")
    outcome = Outcome(
        wanted.model, wanted.student, reading, Decision("cannot_say", "nothing in the files can be trained on"),
        folder, clock.budget,
    )  # fmt: skip
    if not reading.evidence.list_groups():
        outcome.needs = "feedback: thumbs, ratings, choices or corrections on answers that are in the files"
        return outcome
    clock.say("splitting the prompts by what they ask")
    outcome.curation = curate_evidence(reading.evidence, open_embedder(load_settings(CuratorSettings)))
    if (problem := explain_too_little(outcome.curation)) is not None:
        outcome.decision, outcome.needs = Decision("cannot_say", problem[0]), problem[1]
        return outcome
    if tried.base is None:
        outcome.decision = Decision("cannot_say", "a model behind an address cannot be trained")
        outcome.needs = "--student FOLDER: a model that is trained in its place and held against its answers"
        return outcome
    compare(outcome, Contest(outcome.curation, tried, judge, wanted.rate, clock))
    return outcome


def explain_too_little(curation: Curation) -> tuple[str, str] | None:
    """Explain why nothing can be learned from so little, and what is needed; None if there is enough to try."""
    told = explain_thin(count_rows(curation.snapshot))
    if told is not None:
        wanted = f"at least {LEAST_ROWS} pairs, or {LEAST_ROWS // 2} liked and as many disliked answers, better 200"
        return told, f"{wanted}: {told}"
    if not curation.held_out.prompts:
        return "no prompt could be held out", "more different prompts: all of them are too much alike to be divided"
    regions = len({curation.splits.cells[key] for key in curation.held_out.prompts})
    if regions < LEAST_UNITS:
        told = f"{regions} regions of prompts are held out, and fewer than {LEAST_UNITS} cannot decide"
        return told, f"more kinds of prompts: {told}"
    return None


def find_judge(place: str | None) -> Judge | None:
    """Find the judge. Raises: StackFailed: it is no address of one."""
    try:
        return open_judge(place, os.environ.get(JUDGE_KEY, "")) if place else None
    except InvalidRequest as error:
        raise StackFailed(f"--judge {error.detail}") from None


def check_judge(place: str, clock: Clock) -> None:
    """Ask the judge once, now rather than after training. Raises: StackFailed: it cannot be used."""
    clock.say("asking the judge whether it is there")
    try:
        probe(place, os.environ.get(JUDGE_KEY, ""))
    except EndpointFailed as error:
        raise StackFailed(f"--judge {error.detail}: start it, name another, or leave it out") from None
