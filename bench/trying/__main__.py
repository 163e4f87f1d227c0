"""`make bench-try`: placebo and clear histories with the tiny model: does `heliotrope try` say what is true?

Each seed is a run of the command itself: real training, real answers, and a judge (a server that knows the users'
taste) or none. A placebo must end as `no_evidence` with a judge and as `no_evidence` or `cannot_say` without, a clear
taste as `better`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from bench.trying.histories import Taste, write_history
from local.models.checkpoints import build_tiny_model
from local.results import RESULTS, Goal, Row, write_result
from local.simulation.judge import serve_judge
from local.simulation.prompts import Question, draw_live_questions
from services.evaluator.adapters.generation_process import SubprocessGenerator
from services.evaluator.ports import GenerationJob, JobModel, JobPrompt

POOL, QUESTIONS = 1_200, 400
TOKENS = 64
LONGEST_SECONDS = 45.0
"""Of a seed, with the tiny model."""
GIVEN_UP_SECONDS = 3 * 3600.0
"""SmolLM2 on a busy machine takes its whole budget of an hour, and more."""
MOST_TOLD = 2_000
TINY = "tiny"
RUNS = RESULTS / "try-runs.json"
WORLDS: dict[str, tuple[Taste, bool, tuple[str, ...]]] = {
    "placebo, a judge who knows": ("placebo", True, ("no_evidence",)),
    "placebo, no judge": ("placebo", False, ("no_evidence", "cannot_say")),
    "clear taste, a judge who knows": ("clear", True, ("better",)),
    "clear taste, no judge": ("clear", False, ("better",)),
}
"""The history, whether there is a judge, and which verdicts are true."""


def make_pool(model: Path, questions: list[Question]) -> dict[str, list[str]]:
    """Have the model answer each question twice."""
    prompts = [JobPrompt(question.text, question.messages) for question in questions]
    pool: dict[str, list[str]] = {question.text: [] for question in questions}
    for seed in range(2):
        job = GenerationJob(
            models=[JobModel("1", str(model))], prompts=prompts, max_new_tokens=TOKENS, batch_size=64,
            dtype="float32", sampling="model", seed=seed,
        )  # fmt: skip
        made = SubprocessGenerator().generate(job, lambda progress: None)
        for text, answer in made.answers["1"].items():
            pool[text].append(answer)
    return pool


def play(world: str, seed: int, model: Path, questions: list[Question], pool: dict[str, list[str]]) -> dict[str, Any]:
    """Run the command on one history; returns what it said."""
    taste, has_judge, _ = WORLDS[world]
    with tempfile.TemporaryDirectory(prefix="heliotrope-try-") as name, serve_judge(questions) as judge:
        folder = Path(name)
        drawn = Random(f"{world}:{seed}").sample(questions, QUESTIONS)
        write_history(folder / "history.jsonl", drawn, pool, taste, seed)
        command = [sys.executable, "-m", "cli.main", "try", str(folder / "history.jsonl"), "--source", "csv"]
        command += ["--model", str(model), "--output", str(folder / "report"), "--json", "--budget", "1h"]
        command += ["--judge", judge] if has_judge else []
        started = time.monotonic()
        said = run_command(command)
        seconds = time.monotonic() - started
    kept = {name: said.get(name) for name in ("verdict", "because", "effect", "interval", "measure", "pairs")}
    return {"world": world, "seed": seed, "seconds": round(seconds, 1), **kept}


def run_command(command: list[str]) -> dict[str, Any]:
    """Run it; whatever ends it without a verdict is one of its own, `error`, which is true of no world."""
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ.copy(), timeout=GIVEN_UP_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"verdict": "error", "because": f"no end within {GIVEN_UP_SECONDS:.0f} s"}
    if ended.returncode not in (0, 3, 4) or not ended.stdout:
        return {"verdict": "error", "because": f"status {ended.returncode}: {ended.stderr[-MOST_TOLD:]}"}
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--from-seed", type=int, default=0)
    parser.add_argument("--worlds", nargs="*", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--model", type=Path, help="another model than the tiny one, such as SmolLM2's folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as folder:
        model = arguments.model or build_tiny_model(Path(folder) / "tiny", 0)
        questions = draw_live_questions(POOL, Random(0))
        pool = make_pool(model, questions)
        runs = []
        for seed in range(arguments.from_seed, arguments.from_seed + arguments.seeds):
            for world in arguments.worlds:
                runs.append(play(world, seed, model, questions, pool))
                RUNS.write_text(json.dumps(runs, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
                print(describe(runs[-1]), flush=True)
    summarise(runs, arguments.worlds, TINY if arguments.model is None else arguments.model.name)


def describe(run: dict[str, Any]) -> str:
    """Return one line that says what happened."""
    found = ""
    if run["effect"] is not None:
        low, high = run["interval"]
        found = f", wins {run['effect']:.0%} ({low:.0%} to {high:.0%})"
    trust = (run["measure"] or {}).get("trust")
    told = "" if trust is None else f", trust {trust['effect']:.0%} (from {trust['low']:.0%})"
    right = "right" if run["verdict"] in WORLDS[run["world"]][2] else "WRONG"
    why = f" ({run['because']})" if run["verdict"] == "error" else ""
    return f"{right}: {run['world']}, seed {run['seed']}: {run['verdict']}{why}{found}{told}, {run['seconds']:.0f} s"


def summarise(runs: list[dict[str, Any]], worlds: list[str], model: str) -> None:
    """Print the table and the goals, and write them."""
    rows, goals = [], []
    for world in worlds:
        own = [run for run in runs if run["world"] == world]
        right = sum(run["verdict"] in WORLDS[world][2] for run in own) / len(own)
        goals.append(Goal(f"{world}: share of seeds that ended as is true", right, 0.95, "at_least"))
        rows.append(Row.of(f"{world}: seconds", "s", [run["seconds"] for run in own]))
        if effects := [run["effect"] for run in own if run["effect"] is not None]:
            rows.append(Row.of(f"{world}: comparisons won by the new answers", "share", effects))
    if model == TINY:
        slowest = max(run["seconds"] for run in runs)
        goals.append(Goal("seconds of the slowest seed", slowest, LONGEST_SECONDS, "at_most"))
    write_result("try", rows, goals, {"model": model, "seeds": len({run["seed"] for run in runs}), "runs": len(runs)})


if __name__ == "__main__":
    main()
