"""`heliotrope try`: would this feedback make your model better?"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.errors import clear_errors

console = Console(soft_wrap=True, highlight=False, stderr=True)
STATUSES = {"better": 0, "worse": 4, "no_evidence": 3, "cannot_say": 3}


def try_files(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="An export of one tool: .json, .jsonl, .csv, ...")
    ],
    model: Annotated[
        str, typer.Option(help="What is trained: a folder, hf://OWNER/NAME@COMMIT, or http://HOST/v1#NAME; smollm2.")
    ],
    source: Annotated[str | None, typer.Option(help="Which tool's export it is, where it is not recognised.")] = None,
    column: Annotated[list[str] | None, typer.Option("--column", help="FIELD=COLUMN, of a table.")] = None,
    scale: Annotated[list[str] | None, typer.Option("--scale", help="NAME=LOW:HIGH, of a score.")] = None,
    budget: Annotated[str, typer.Option(help="How long it may take, about: 90s, 20m, 1h.")] = "20m",
    judge: Annotated[str | None, typer.Option(help="A model that compares answers: http://HOST/v1#NAME.")] = None,
    rate: Annotated[bool, typer.Option("--rate", help="Compare the answers yourself, blind, on a local page.")] = False,
    student: Annotated[str | None, typer.Option(help="What is trained in place of a model behind an address.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="A new folder for the report and the model; else try, then try-2, ...")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to the standard output.")] = False,
) -> None:
    """Say whether the feedback in an export makes a model better: train on most of it, compare answers on the rest.

    No stack, no servers; nothing leaves this machine but what --judge and a model's address are asked. Ends with 0 for
    better, 4 for worse, 3 for no evidence and for what cannot be said, 1 for an error. Keys of servers are read from
    HELIOTROPE_TRY_KEY_MODEL and _JUDGE.
    """
    from services.trainer.bootstrap.methods import ENVIRONMENT

    for name, value in ENVIRONMENT.items():  # before the libraries that read it are loaded
        os.environ.setdefault(name, value)
    from cli.exchange.commands import parse_column, parse_scale
    from cli.exchange.found import Options
    from cli.trying.clock import Clock, parse_budget
    from cli.trying.folders import writing_for_the_owner_alone
    from cli.trying.reporting.content import derive_content
    from cli.trying.reporting.writing import write_report
    from cli.trying.running import Wanted, run_try

    if judge and rate:
        raise typer.BadParameter("give --judge or --rate, not both")
    with clear_errors(tell_error if as_json else None), writing_for_the_owner_alone():
        options = Options(dict(map(parse_scale, scale or [])), dict(map(parse_column, column or [])))
        clock = Clock(parse_budget(budget), lambda line: console.print(line, markup=False))
        outcome = run_try(Wanted(files, model, output, source, student, judge, rate, options), clock)
        outcome.seconds = clock.passed
        content = derive_content(outcome)
        write_report(content, outcome.folder)
    if as_json:
        write_object(content)
    show(content)
    raise typer.Exit(STATUSES[content["verdict"]])


def write_object(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def tell_error(message: str) -> None:
    """Print an error as the object that `--json` promises."""
    write_object({"verdict": None, "error": message})


def show(content: dict[str, Any]) -> None:
    """Print the verdict, what it rests on, what is missing, and what to do next."""
    console.print(f"{content['verdict'].replace('_', ' ').upper()}: {content['because']}", markup=False)
    if content["effect"] is not None:
        low, high = content["interval"]
        told = f"the new answers win {content['effect']:.0%} of comparisons (95% interval {low:.0%} to {high:.0%})"
        console.print(f"  {told}, by {content['measure']['name']}", markup=False)
    for missing in content["missing"]:
        console.print(f"  missing: {missing}", markup=False)
    console.print(f"Report: {content['report']}", markup=False)
    if content["deploy"]:
        console.print(f"Deploy it: {content['deploy']}", markup=False)
