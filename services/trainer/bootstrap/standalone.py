"""`heliotrope train`: the composition root of a run without the rest of the system."""

import os
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from services.trainer.adapters.artifacts.model_size import read_model_size
from services.trainer.adapters.artifacts.recipe_files import load_recipe_file
from services.trainer.adapters.distributed.hardware import find_devices
from services.trainer.adapters.wandb_mirror import make_mirror
from services.trainer.bootstrap.methods import ENVIRONMENT, METHODS
from services.trainer.bootstrap.rewards import read_reward_rules
from services.trainer.domain.planning.planner import GIB, Devices, count_trainable, describe_plan, plan_run
from services.trainer.domain.recipe.reward_functions import check_listed
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import TrainingResult
from services.trainer.handlers.standalone import Order, PrintLine, check_folders, run_standalone, stop_on_interrupt
from services.trainer.settings import TrainerSettings
from shared.errors import InvalidRequest
from shared.settings import load_settings


def train_file(
    file: Path,
    *,
    base: Path | None,
    dataset: Path | None,
    earlier: Sequence[Path] = (),
    output: Path,
    threads: int,
    print_line: PrintLine,
) -> TrainingResult:
    """Train what the recipe says. The recipe's folders are relative to its file.

    Args:
        base, dataset, earlier: go before the recipe's own; `earlier` are snapshots to replay, newest first.
        threads: for tensor arithmetic; 0 leaves it to OMP_NUM_THREADS, else to torch.

    Raises: what `run_standalone` raises, and NotFound or InvalidRequest for the recipe.
    """
    settings = load_settings(TrainerSettings)
    rewards = read_reward_rules(settings)
    recipe = _place_folders(file, load_recipe_file(file), earlier)
    check_listed(recipe, rewards.functions)
    order = Order(
        recipe,
        base or _resolve(file, recipe.base, "base"),
        dataset or _resolve(file, recipe.dataset, "dataset"),
        output,
        rewards,
    )
    check_folders(order)  # before torch is loaded, which takes seconds
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    mirror = make_mirror(settings, output)
    stop = threading.Event()
    stop_on_interrupt(stop)
    return run_standalone(order, partial(METHODS[recipe.method], threads), print_line, stop, mirror)


def _place_folders(file: Path, recipe: Recipe, earlier: Sequence[Path]) -> Recipe:
    """Make the recipe's folders absolute; `earlier` goes before its own snapshots."""
    stages = tuple(_place_reward_model(file, stage) for stage in recipe.stages)
    recipe = msgspec.structs.replace(_place_reward_model(file, recipe), stages=stages)
    folders = earlier or [file.parent / name for name in recipe.replay.folders or ()]
    if not folders:
        return recipe
    placed = tuple(str(folder.resolve()) for folder in folders)
    return msgspec.structs.replace(recipe, replay=msgspec.structs.replace(recipe.replay, folders=placed))


def plan_file(file: Path, *, base: Path | None, gpus: int, memory_gib: float) -> tuple[list[str], bool]:
    """Say what the planner plans for the recipe, a stage after another, and whether all of it fits.

    `gpus`: how many, of `memory_gib` each; 0: this machine's devices.

    Raises:
        NotFound, InvalidRequest: the recipe or its base cannot be used.
    """
    recipe = load_recipe_file(file)
    model = read_model_size(base or _resolve(file, recipe.base, "base"))
    devices = Devices("gpu", gpus, int(memory_gib * GIB), computes_in_bf16=True) if gpus else find_devices()
    lines, fits = [f"{model.parameters / 1e6:.1f}M parameters; {devices.count} x {devices.kind}"], True
    for stage in recipe.stages or (recipe,):
        lines.append(f"{stage.name} ({stage.method}, {count_trainable(stage, model) / 1e6:.1f}M trained):")
        plans = plan_run(stage, model, devices)
        lines += [f"  {line}" for plan in plans for line in describe_plan(plan, devices)]
        fits &= plans[-1].fits
    return lines, fits


def _resolve(file: Path, folder: str | None, name: str) -> Path:
    if folder is None:
        raise InvalidRequest(f"{name}: give --{name}, or write {name} into the recipe")
    return file.parent / folder


def _place_reward_model(file: Path, recipe: Recipe) -> Recipe:
    if recipe.reward_model is None:
        return recipe
    return msgspec.structs.replace(recipe, reward_model=str((file.parent / recipe.reward_model).resolve()))
