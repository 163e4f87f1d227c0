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
from services.trainer.domain.planning.planner import GIB, Devices, count_trainable, describe_plan, plan_run
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Trained
from services.trainer.handlers.standalone import Order, Say, check_folders, run_standalone, stop_on_interrupt
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
    say: Say,
) -> Trained:
    """Train what the recipe says; `base`, `dataset` and `earlier` (snapshots to replay, newest first) go before the
    recipe's own. Folders are relative to its file.

    Raises: what `run_standalone` raises, and NotFound or InvalidRequest for the recipe.
    """
    recipe = load_recipe_file(file)
    recipe = msgspec.structs.replace(
        _place_reward_model(file, recipe), stages=tuple(_place_reward_model(file, stage) for stage in recipe.stages)
    )
    folders = recipe.replay.folders
    if earlier or folders:
        placed = tuple(str(folder.resolve()) for folder in earlier or [file.parent / name for name in folders or ()])
        recipe = msgspec.structs.replace(recipe, replay=msgspec.structs.replace(recipe.replay, folders=placed))
    order = Order(
        recipe,
        base or _resolve(file, recipe.base, "base"),
        dataset or _resolve(file, recipe.dataset, "dataset"),
        output,
    )
    check_folders(order)  # before torch is loaded, which takes seconds
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    mirror = make_mirror(load_settings(TrainerSettings), output)
    stop = threading.Event()
    stop_on_interrupt(stop)
    return run_standalone(order, partial(METHODS[recipe.method], threads), say, stop, mirror)


def plan_file(file: Path, *, base: Path | None, gpus: int, memory_gib: float) -> tuple[list[str], bool]:
    """What the planner says of the recipe, a stage after another, and whether all of it fits. `gpus` 0: this machine's.

    Raises:
        NotFound, InvalidRequest: the recipe or its base cannot be used.
    """
    recipe = load_recipe_file(file)
    model = read_model_size(base or _resolve(file, recipe.base, "base"))
    devices = Devices("gpu", gpus, int(memory_gib * GIB)) if gpus else find_devices()
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
