"""What the commands of the recipes share: options, the base model, training by recipe files, timing."""

import argparse
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from local.layout import find_base_model
from local.models.checkpoints import export_smollm2
from services.trainer.bootstrap.standalone import train_file


@dataclass(frozen=True)
class Options:
    base: Path
    output: Path
    keep: bool
    steps: int | None
    questions: int | None


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", type=Path, help="the chat model to start from; default: SmolLM2-135M-Instruct")
    parser.add_argument("--output", type=Path, help="a new folder; default: one under .heliotrope/recipes/")
    parser.add_argument("--keep", action="store_true", help="keep the figures in bench/results/")
    parser.add_argument("--steps", type=int, help="at most so many steps in each stage, to try it out")
    parser.add_argument("--questions", type=int, help="only so many test questions, to try it out")


def choose_options(given: argparse.Namespace, name: str) -> Options:
    base = given.base or export_smollm2(find_base_model())
    output = given.output or Path(".heliotrope/recipes") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    return Options(base, output, given.keep, given.steps, given.questions)


class Progress:
    """Says what happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def __call__(self, line: str) -> None:
        print(f"[{self.seconds:5.0f} s] {line}", flush=True)


def train(file: Path, options: Options, say: Progress, *, base: Path, dataset: Path, name: str, **changes: Any) -> Path:
    """Train by a recipe file, with these settings changed; returns the run's folder.

    Raises: as `services.trainer.bootstrap.standalone.train_file`.
    """
    content = yaml.safe_load(file.read_text(encoding="utf-8")) | changes
    if options.steps:
        content = shorten(content, options.steps)
    options.output.mkdir(parents=True, exist_ok=True)
    written = options.output / f"{name}.yaml"
    written.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    output = options.output / name
    with _keep_signals():
        train_file(
            written,
            base=base.resolve(),
            dataset=dataset.resolve(),
            output=output,
            threads=int(os.environ.get("OMP_NUM_THREADS", "0")),
            print_line=lambda line: say(f"{name}: {line}"),
        )
    return output


@contextmanager
def _keep_signals() -> Iterator[None]:
    """A training takes Ctrl-C and SIGTERM for itself; after it they end the command again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def shorten(content: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return the same recipe with at most so many steps in each stage."""
    short = dict(content)
    if "stages" in short:
        return short | {"stages": [shorten(stage, steps) for stage in short["stages"]]}
    return short | {"max_steps": min(short["max_steps"], steps)}
