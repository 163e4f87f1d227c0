"""`heliotrope evaluate`: the gates for any two models, without the rest of the system."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from cli.errors import clear_errors

console = Console(soft_wrap=True, highlight=False)
STATUSES = {"pass": 0, "fail": 1, "inconclusive": 3}
Model = "a model's folder (whole weights or one of Heliotrope's adapters), or http://HOST/v1#NAME"


def evaluate(
    candidate: Annotated[str, typer.Argument(metavar="A", help=f"The candidate: {Model}.")],
    champion: Annotated[str, typer.Argument(metavar="B", help="What it is held against, in the same way.")],
    prompts: Annotated[Path, typer.Option(help="JSON lines: each has a prompt, or messages (and tools, and a group).")],
    output: Annotated[Path, typer.Option(help="Folder of the report; the same again resumes.")] = Path("evaluation"),
    judge: Annotated[str | None, typer.Option(help="A model that judges every prompt: http://HOST/v1#NAME.")] = None,
    votes: Annotated[Path | None, typer.Option(help="What people voted on OUTPUT/comparisons.jsonl.")] = None,
    training: Annotated[
        str | None, typer.Option(help="The dataset that A was trained on: a folder of Parquet.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Which gates block, with which thresholds.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=4_096, help="Length of an answer, at most.")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, max=512, help="Answers generated at once.")] = 16,
    dtype: Annotated[str | None, typer.Option(help="float32 or bfloat16; what this machine computes fastest.")] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="The likeliest token, in place of sampling.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws sampling, sides and order.")] = 0,
    suite: Annotated[bool, typer.Option(help="Both answer the shipped suite, too.")] = True,
    limit: Annotated[int, typer.Option(min=0, help="Of the prompts, the first so many; 0: all.")] = 0,
    tasks: Annotated[Path | None, typer.Option(help="Folder of lm-eval's task files that both answer, too.")] = None,
    task_documents: Annotated[int, typer.Option(min=0, help="Of each task, the first so many; 0: all.")] = 0,
) -> None:
    """Judge whether A may take the place of B. Ends with 0 for pass, 1 for fail, 3 for inconclusive.

    Nobody's word is needed but theirs: no stack, no database. Keys of servers are read from HELIOTROPE_EVALUATE_KEY_A,
    _B and _JUDGE.
    """
    from local.cpu import choose_evaluation_dtype
    from services.evaluator.bootstrap.standalone import Wanted, evaluate_models
    from services.evaluator.handlers.standalone.order import How

    if dtype not in (None, "float32", "bfloat16"):
        raise typer.BadParameter("float32 or bfloat16", param_hint="--dtype")
    sampling: Literal["model", "greedy"] = "greedy" if greedy else "model"
    how = How(max_new_tokens, batch_size, dtype or choose_evaluation_dtype(), sampling, seed, suite)  # type: ignore[arg-type]
    files = (judge, votes, training, policy)
    wanted = Wanted(candidate, champion, prompts, output, how, *files, limit, tasks, task_documents)
    with clear_errors():
        report = evaluate_models(wanted, lambda line: console.print(line, markup=False))
    show(report, output)
    raise typer.Exit(STATUSES[report["verdict"]])


def show(report: dict[str, Any], output: Path) -> None:
    """Print the verdict and each gate, those that decided first."""
    console.print(f"{report['verdict'].upper()}: {report['candidate_version']} against {report['champion_version']}")
    order = ("fail", "inconclusive", "pass")
    for gate in sorted(report["gates"], key=lambda gate: (not gate["blocks"], order.index(gate["verdict"]))):
        kind = "" if gate["blocks"] else " (only warns)"
        console.print(f"  {gate['verdict']:<12} {gate['name']}{kind}: {gate['summary']}", markup=False)
    console.print(f"{output / 'report.html'}", markup=False)
