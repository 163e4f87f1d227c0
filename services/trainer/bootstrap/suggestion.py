"""`heliotrope recipe suggest`: the composition root of a recipe that is made for a dataset."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from services.trainer.adapters.artifacts.holdings import count_holdings
from services.trainer.adapters.distributed.hardware import find_devices
from services.trainer.domain.planning.planner import GIB, Devices
from services.trainer.domain.planning.sizing import Sizes
from services.trainer.domain.planning.suggestion import (
    Holdings,
    Setting,
    draft_recipe,
    draft_settings,
    suggest_method,
    suggest_sizes,
)
from services.trainer.domain.training import Job

WIDTH = 118


def suggest_recipe(dataset: Path, *, base: Path | None, gpus: int, memory_gib: float) -> str:
    """Suggest a recipe for the dataset, as YAML with a reason above each group of settings.

    Args:
        base: the model to train; without it the lengths are left to the run.
        gpus: how many, of `memory_gib` each; 0: this machine's devices.

    Raises:
        InvalidRequest: the dataset holds nothing to learn, or base or dataset cannot be read.
    """
    holdings = count_holdings(dataset)
    devices = Devices("gpu", gpus, int(memory_gib * GIB), computes_in_bf16=True) if gpus else find_devices()
    settings = draft_settings(suggest_method(holdings), devices)
    if base is not None:
        settings += suggest_sizes(settings, _measure(settings, dataset, base, devices), holdings)
    return render_settings(dataset, base, holdings, settings)


def _measure(settings: Sequence[Setting], dataset: Path, base: Path, devices: Devices) -> Sizes:
    from services.trainer.adapters.methods.row_lengths import measure_sizes  # takes seconds

    job = Job(draft_recipe(settings), base, dataset, dataset, None, dataset)
    return replace(measure_sizes(job), devices=devices)


def render_settings(dataset: Path, base: Path | None, holdings: Holdings, settings: Sequence[Setting]) -> str:
    """Render the settings as a recipe's file."""
    held = (
        f"{holdings.pairs} pairs, {holdings.validation_pairs} validation pairs, {holdings.answers} answers to imitate"
    )
    labels = f"{holdings.liked + holdings.disliked} labels"
    places = {"dataset": str(dataset.resolve())} | ({"base": str(base.resolve())} if base else {})
    head = Setting({"name": "suggested", **places}, f"Suggested for a dataset of {held}, {labels}.")
    unsized = (
        [] if base else ["# Length, rows at a time and steps follow from the data and the memory as the run begins."]
    )
    return "\n\n".join([*map(_render, [head, *settings]), *unsized]) + "\n"


def _render(setting: Setting) -> str:
    lines = [piece for line in setting.reason.splitlines() for piece in textwrap.wrap(line.strip(), WIDTH)]
    fields = yaml.safe_dump(setting.fields, sort_keys=False).rstrip()
    return "\n".join([*(f"# {line}" for line in lines), fields])
