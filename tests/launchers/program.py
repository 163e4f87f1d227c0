"""What an engine starts in place of `heliotrope train`: its composition with a method of four quick steps.

`python -m tests.launchers.program train RECIPE --base ... --output ... --attempt N`. The recipe's name says what
happens: `good`; `slow` (steps go on until somebody ends it); `again` (the first attempt goes on like that after two
steps, a later one finishes); `broken` (dies with a word in its log); `forged` (candidate and outcome are replaced
afterwards); `full` (says itself why it failed); `mistaken` (raises what nobody foresaw, as a missing library does).
"""

import argparse
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from services.trainer.adapters.artifacts.recipe_files import load_recipe_file
from services.trainer.adapters.launching.mailbox import Mailbox
from services.trainer.adapters.launching.run_store import RunStore, open_seals
from services.trainer.domain.launching.endings import Outcome
from services.trainer.domain.launching.orders import RUN_KEY
from services.trainer.domain.planning.places import find_place
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Interrupted, Job, TrainingFailed, TrainingResult
from services.trainer.handlers.addressed import AddressedOrder, run_addressed
from services.trainer.handlers.standalone import stop_on_interrupt
from services.trainer.ports import RunReporter
from shared.artifacts import Artifacts, locate_folder

LAST_WORDS = "the disk of this machine is on fire"
MISTAKE = "no module named flash_attn"
SLOW_STEPS = 600
RESULT = TrainingResult(4, "w" * 64, "all steps taken", 60, 0)


def train(job: Job, reporter: RunReporter) -> TrainingResult:
    recipe = job.recipe
    first = int(job.resume_from.name.removeprefix("checkpoint-")) if job.resume_from else 0
    reporter.on_phase("training")
    reporter.on_note(f"began behind step {first} on machine {job.place.rank} of {job.place.count}")
    if recipe.name == "broken":
        sys.stderr.write(f"{LAST_WORDS}\n")
        sys.stderr.flush()
        os._exit(3)
    if recipe.name == "full":
        raise TrainingFailed("no room for the weights", "disk")
    if recipe.name == "mistaken":
        raise ImportError(MISTAKE)
    waits = recipe.name == "slow" or (recipe.name == "again" and job.checkpoints.name == "1")
    for step in range(first + 1, (SLOW_STEPS if waits else recipe.steps) + 1):
        reporter.on_step(step, recipe.steps)
        reporter.on_metrics(step, {"loss": 1.0 / step, "rewards/margins": 0.1 * step})
        if step <= 2 or not waits:
            checkpoint = job.checkpoints / f"checkpoint-{step}"
            checkpoint.mkdir(parents=True)
            (checkpoint / "weights").write_text(f"{step}")
            reporter.on_checkpoint(checkpoint)
        if reporter.stopping:
            raise Interrupted(f"at step {step}")
        if waits:
            time.sleep(0.2)
    job.candidate.mkdir(parents=True)
    (job.candidate / "model.safetensors").write_bytes(b"weights")
    return replace(RESULT, steps=recipe.steps - first)


def forge(store: RunStore, number: int) -> None:
    """Replace candidate and outcome together, as somebody can who may write to the store."""
    theirs = Mailbox(RunStore(store.artifacts, store.output), number)
    with TemporaryDirectory() as folder:
        (Path(folder) / "model.safetensors").write_bytes(b"others")
        sha256 = theirs.send_candidate(Path(folder))
    theirs.send_outcome(Outcome("trained", result=RESULT, candidate_sha256=sha256))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("recipe")
    for name in ("base", "base-sha256", "dataset", "dataset-sha256", "recipe-sha256", "output", "threads"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--trust", action="append", default=[])
    parser.add_argument("--attempt", type=int)
    parser.add_argument("--max-seconds", type=int)
    given = parser.parse_args(arguments)
    home = Path(os.environ["HELIOTROPE_HOME"])
    artifacts = Artifacts(home / "cache", max_cache_bytes=1 << 30)
    place = find_place(os.environ)
    store = RunStore(artifacts, given.output, open_seals(os.environ.get(RUN_KEY), given.trust))
    if place.is_first:
        Mailbox(store, given.attempt).begin()
    stop = threading.Event()
    stop_on_interrupt(stop)
    recipe: Recipe = load_recipe_file(locate_folder(given.recipe))
    order = AddressedOrder(
        recipe=recipe,
        base=Path(given.base),
        base_uri=given.base,
        base_sha256=None,
        dataset=Path(given.dataset),
        output=given.output,
        number=given.attempt,
        folder=home / f"trained-{place.rank}-{given.attempt}",  # no disk survives an eviction
        place=place,
        seals=store.seals,
        ends_at=time.monotonic() + given.max_seconds,
    )
    run_addressed(order, train, artifacts, print, stop)
    if recipe.name == "forged":
        forge(store, given.attempt)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
