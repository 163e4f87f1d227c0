"""Training within a budget: a few steps tell how long one takes, and the run is made as long as the time allows."""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import msgspec

from cli.trying.clock import Clock
from cli.trying.recipes import PROBE_STEPS, shorten
from services.trainer.adapters.artifacts.model_size import read_model_size
from services.trainer.bootstrap.methods import METHODS, choose_sizes
from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Interrupted, Job, TrainingResult
from services.trainer.handlers.standalone import Order, run_standalone, stop_on_interrupt
from shared.errors import HeliotropeError

PROBED_ABOVE = 20_000_000
"""Weights; a smaller model takes steps so fast that nothing needs to be measured."""
SAID_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Trained:
    """What came out, and in which folder the candidate is: whole weights, which anything loads."""

    recipe: Recipe
    result: TrainingResult
    candidate: Path
    seconds: float


@dataclass
class Watch:
    """Notes when each step ended, and says nothing."""

    stop: threading.Event
    ends: list[float] = field(default_factory=list)

    @property
    def stopping(self) -> bool:
        return self.stop.is_set()

    @property
    def seconds_a_step(self) -> float:
        """Return the mean time between the ends of steps; the first one, which warms up, is left out."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1) if len(self.ends) > 1 else 0.0

    def on_phase(self, phase: str) -> None:
        """End what was told to stop. Raises: Interrupted."""
        if self.stopping:
            raise Interrupted(f"while {phase}")

    def on_step(self, step: int, total: int) -> None:
        self.ends.append(time.monotonic())

    def on_micro_step(self) -> None:
        """Do nothing."""

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """Do nothing."""

    def on_note(self, note: str) -> None:
        """Do nothing."""

    def on_checkpoint(self, checkpoint: Path) -> None:
        """Do nothing."""


def count_parameters(base: Path) -> int | None:
    """Count a model's weights, as far as its configuration says."""
    try:
        return read_model_size(base).parameters
    except HeliotropeError:
        return None


def train(recipe: Recipe, base: Path, dataset: Path, output: Path, seconds: float, clock: Clock) -> Trained:
    """Train into `output/candidate`, within so many seconds as far as a few steps tell.

    Raises: as `run_standalone`.
    """
    started = time.monotonic()
    with listening_for_the_end() as stop:
        order = Order(recipe, base, dataset, output)
        if (count_parameters(base) or 0) >= PROBED_ABOVE:
            order = replace(order, recipe=fit_into(order, started + seconds, stop, clock))
        result = run_standalone(order, partial(METHODS[recipe.method], 0), say_now_and_then(clock), stop)
    return Trained(order.recipe, result, output / "candidate", time.monotonic() - started)


@contextmanager
def listening_for_the_end() -> Iterator[threading.Event]:
    """Yield what Ctrl-C and SIGTERM set meanwhile: training ends at its next step."""
    stop, numbers = threading.Event(), (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    stop_on_interrupt(stop)
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def fit_into(order: Order, until: float, stop: threading.Event, clock: Clock) -> Recipe:
    """Take a few steps, and return the recipe with as many as fit until then."""
    scratch = order.output.with_name(f"{order.output.name}-probe")
    shutil.rmtree(scratch, ignore_errors=True)
    job = Job(order.recipe, order.base, order.dataset, scratch / "checkpoints", None, scratch / "candidate")
    watch = Watch(stop)
    try:
        scratch.mkdir(parents=True)
        sized = choose_sizes(job, watch)
        probe = msgspec.structs.replace(sized.recipe, max_steps=min(PROBE_STEPS, sized.recipe.steps), passes=None)
        METHODS[order.recipe.method](0, replace(sized, recipe=probe), watch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    fitting = shorten(sized.recipe.steps, watch.seconds_a_step, until - time.monotonic())
    told = f"a step takes {watch.seconds_a_step:.1f} s; {sized.recipe.steps} steps are wanted"
    clock.say(told if fitting is None else f"{told}, and {fitting} fit into the budget")
    return order.recipe if fitting is None else msgspec.structs.replace(order.recipe, max_steps=fitting)


def say_now_and_then(clock: Clock) -> Callable[[str], None]:
    """Return what says each line of a run, of its steps one in five seconds."""
    last = -SAID_EVERY_SECONDS

    def say(line: str) -> None:
        nonlocal last
        if line.startswith("step ") and clock.passed - last < SAID_EVERY_SECONDS:
            return
        last = clock.passed
        clock.say(line)

    return say
