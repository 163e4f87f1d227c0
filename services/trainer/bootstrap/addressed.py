"""`heliotrope train` by address: the composition root on a machine that an engine gave."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec

from services.trainer.adapters.artifacts.checkpoints import delete_folder, delete_rows
from services.trainer.adapters.artifacts.dataset import TRAIN_FILE, fetch_dataset
from services.trainer.adapters.artifacts.recipe_files import load_recipe_file
from services.trainer.adapters.launching.mailbox import Mailbox, find_next_attempt
from services.trainer.adapters.launching.run_store import RunStore, Seals, open_seals
from services.trainer.bootstrap.methods import ENVIRONMENT, METHODS
from services.trainer.bootstrap.rewards import read_reward_rules
from services.trainer.domain.launching.endings import OutcomeUnsent
from services.trainer.domain.launching.orders import RUN_KEY, Pinned
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


@dataclass(frozen=True, kw_only=True)
class Places:
    """The addresses of what a machine trains; `base` and `dataset` go before the recipe's.

    The hashes are what the manifests must hash to; None: whatever.
    """

    recipe: Pinned
    base: str | None
    base_sha256: str | None
    dataset: str | None
    dataset_sha256: str | None
    output: str


def train_by_address(
    places: Places,
    *,
    attempt: int | None,
    max_seconds: int | None,
    trusted: Sequence[str],
    threads: int,
    print_line: PrintLine,
) -> TrainingResult:
    """Train what the recipe says; everything comes from addresses and goes below the output.

    The same output again goes on from the newest checkpoint there. Of several machines each calls this; which one it
    is on the engine has put into its environment (`domain.planning.places`).

    Args:
        attempt: number of this start, the same on all machines; None: the next one.
        max_seconds: after which the machine is taken back; None: never.
        trusted: public keys, one of which must have sealed the run's checkpoints; none: anybody may have made them.

    Raises: what `run_addressed` raises, and NotFound or InvalidRequest for recipe and addresses.
    """
    ends_at = time.monotonic() + max_seconds if max_seconds else None
    place = find_place(os.environ)
    settings = load_settings(Settings)
    artifacts = open_artifacts(settings)
    artifacts.drop_unused(TRAIN_FILE)  # what a run that was killed here could not drop
    number = attempt or find_next_attempt(artifacts, places.output)
    seals = _open_seals(trusted)
    mailbox = Mailbox(RunStore(artifacts, places.output.rstrip("/"), seals), number, AddressedOrder.patience_seconds)
    if place.is_first:
        with translate_outage():
            mailbox.begin()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    stop = threading.Event()
    stop_on_interrupt(stop)
    try:
        order = _prepare(places, number, artifacts, settings)
    except HeliotropeError as error:
        with translate_outage():
            mailbox.fail(error, place.rank)
        raise
    order = replace(order, ends_at=ends_at, seals=seals)
    with cleaned_up(order, artifacts):
        return run_addressed(order, partial(METHODS[order.recipe.method], threads), artifacts, print_line, stop)


def _open_seals(trusted: Sequence[str]) -> Seals:
    """Open the run's seals; no process that this one starts sees its key. Raises: InvalidRequest: it is none."""
    try:
        return open_seals(os.environ.pop(RUN_KEY, None), trusted)
    except ValueError as error:
        raise InvalidRequest(f"{RUN_KEY} or --trust: {error}") from error


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


def _prepare(places: Places, number: int, artifacts: Artifacts, settings: Settings) -> AddressedOrder:
    recipe = _load_recipe(places.recipe, artifacts)
    rewards = read_reward_rules(load_settings(TrainerSettings))
    check_listed(recipe, rewards.functions)
    base_uri = _require("base", places.base, recipe.base)
    if recipe.reward_model is not None and is_address(recipe.reward_model):
        recipe = _replace_reward_model(recipe, artifacts.fetch_model(recipe.reward_model))
    return AddressedOrder(
        recipe=recipe,
        base=artifacts.fetch_model(base_uri, places.base_sha256),
        base_uri=base_uri,
        base_sha256=places.base_sha256,
        dataset=fetch_dataset(artifacts, _require("dataset", places.dataset, recipe.dataset), places.dataset_sha256),
        output=places.output.rstrip("/"),
        number=number,
        folder=_choose_folder(settings, places.output),
        place=find_place(os.environ),
        rewards=rewards,
    )


def _choose_folder(settings: Settings, output: str) -> Path:
    """Choose this machine's folder for a run; another rank on the same disk has one of its own."""
    rank = find_place(os.environ).rank
    return settings.home.absolute() / "trained" / f"{sha256(output.encode()).hexdigest()[:16]}-{rank}"


def _load_recipe(place: Pinned, artifacts: Artifacts) -> Recipe:
    if not is_address(place.uri):
        return load_recipe_file(Path(place.uri))
    folder, _, name = place.uri.rpartition("/")
    ordered_by_a_worker = place.sha256 is not None
    return load_recipe_file(artifacts.fetch(folder, place.sha256) / name, stored=ordered_by_a_worker)


def _replace_reward_model(recipe: Recipe, folder: Path) -> Recipe:
    return msgspec.structs.replace(recipe, reward_model=str(folder))


def _require(name: str, given: str | None, of_recipe: str | None) -> str:
    place = given or of_recipe
    if place is None:
        raise InvalidRequest(f"{name}: give --{name}, or write {name} into the recipe")
    return place
