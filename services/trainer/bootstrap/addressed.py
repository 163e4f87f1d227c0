"""`heliotrope train` by address: the composition root on a machine that an engine gave."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec

from services.trainer.adapters.artifacts.checkpoints import delete_folder, delete_rows
from services.trainer.adapters.artifacts.dataset import TRAIN_FILE, fetch_dataset
from services.trainer.adapters.artifacts.recipe_files import load_recipe_file
from services.trainer.adapters.launching.mailbox import Mailbox, find_next_attempt
from services.trainer.bootstrap.methods import ENVIRONMENT, METHODS
from services.trainer.bootstrap.rewards import read_reward_rules
from services.trainer.domain.launching.endings import OutcomeUnsent
from services.trainer.domain.planning.places import find_place
from services.trainer.domain.recipe.reward_functions import check_listed
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import TrainingResult
from services.trainer.handlers.addressed import AddressedOrder, PrintLine, run_addressed
from services.trainer.handlers.standalone import stop_on_interrupt
from services.trainer.settings import TrainerSettings
from shared.artifacts import Artifacts, ArtifactStoreUnavailable, find_local_folder, open_artifacts
from shared.errors import HeliotropeError, InvalidRequest
from shared.settings import Settings, load_settings


def is_address(place: str) -> bool:
    """Tell whether a place is an address (`s3://...`, `file:///...`) and no plain path."""
    return "://" in place or find_local_folder(place) is None


def train_by_address(
    recipe: str,
    *,
    base: str | None,
    base_sha256: str | None,
    dataset: str | None,
    output: str,
    attempt: int | None,
    max_seconds: int | None,
    threads: int,
    print_line: PrintLine,
) -> TrainingResult:
    """Train what the recipe says; everything comes from addresses and goes below `output`.

    The same output again goes on from the newest checkpoint there. Of several machines each calls this; which one it
    is on the engine has put into its environment (`domain.planning.places`).

    Args:
        base, dataset: go before the recipe's own. `base_sha256`: what the base's manifest must hash to.
        attempt: number of this start, the same on all machines; None: the next one.
        max_seconds: after which the machine is taken back; None: never.

    Raises: what `run_addressed` raises, and NotFound or InvalidRequest for recipe and addresses.
    """
    ends_at = time.monotonic() + max_seconds if max_seconds else None
    place = find_place(os.environ)
    settings = load_settings(Settings)
    artifacts = open_artifacts(settings)
    artifacts.drop_unused(TRAIN_FILE)  # what a run that was killed here could not drop
    number = attempt or find_next_attempt(artifacts, output)
    mailbox = Mailbox(artifacts, output, number, AddressedOrder.patience_seconds)
    if place.is_first:
        with translate_outage():
            mailbox.begin()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    stop = threading.Event()
    stop_on_interrupt(stop)
    try:
        order = _prepare(recipe, base, base_sha256, dataset, output, number, artifacts, settings)
    except HeliotropeError as error:
        with translate_outage():
            mailbox.fail(error, place.rank)
        raise
    order = replace(order, ends_at=ends_at)
    with cleaned_up(order, artifacts):
        return run_addressed(order, partial(METHODS[order.recipe.method], threads), artifacts, print_line, stop)


@contextmanager
def translate_outage() -> Iterator[None]:
    """Translate a store that is away, so that the engine's word does not make a failure of it. Raises: OutcomeUnsent"""
    try:
        yield
    except ArtifactStoreUnavailable as error:
        raise OutcomeUnsent(error.detail) from error


@contextmanager
def cleaned_up(order: AddressedOrder, artifacts: Artifacts) -> Iterator[None]:
    """Delete what the run leaves on this machine once the store has what counts; users' rows in any case."""
    is_stored = True
    try:
        yield
    except OutcomeUnsent:
        is_stored = False
        raise
    finally:
        if is_stored:
            delete_folder(order.folder)
        delete_rows(order.folder)
        artifacts.drop(order.dataset)


def _prepare(
    recipe_address: str,
    base: str | None,
    base_sha256: str | None,
    dataset: str | None,
    output: str,
    number: int,
    artifacts: Artifacts,
    settings: Settings,
) -> AddressedOrder:
    recipe = _load_recipe(recipe_address, artifacts)
    rewards = read_reward_rules(load_settings(TrainerSettings))
    check_listed(recipe, rewards.functions)
    base_uri = _require("base", base, recipe.base)
    if recipe.reward_model is not None and is_address(recipe.reward_model):
        recipe = _replace_reward_model(recipe, artifacts.fetch_model(recipe.reward_model))
    return AddressedOrder(
        recipe=recipe,
        base=artifacts.fetch_model(base_uri, base_sha256),
        base_uri=base_uri,
        base_sha256=base_sha256,
        dataset=fetch_dataset(artifacts, _require("dataset", dataset, recipe.dataset)),
        output=output.rstrip("/"),
        number=number,
        folder=_choose_folder(settings, output),
        place=find_place(os.environ),
        rewards=rewards,
    )


def _choose_folder(settings: Settings, output: str) -> Path:
    """Choose this machine's folder for a run; another rank on the same disk has one of its own."""
    rank = find_place(os.environ).rank
    return settings.home.absolute() / "trained" / f"{sha256(output.encode()).hexdigest()[:16]}-{rank}"


def _load_recipe(address: str, artifacts: Artifacts) -> Recipe:
    if not is_address(address):
        return load_recipe_file(Path(address))
    folder, _, name = address.rpartition("/")
    return load_recipe_file(artifacts.fetch(folder) / name)


def _replace_reward_model(recipe: Recipe, folder: Path) -> Recipe:
    return msgspec.structs.replace(recipe, reward_model=str(folder))


def _require(name: str, given: str | None, of_recipe: str | None) -> str:
    place = given or of_recipe
    if place is None:
        raise InvalidRequest(f"{name}: give --{name}, or write {name} into the recipe")
    return place
