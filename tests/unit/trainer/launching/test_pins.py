"""A machine trains what its command line names by hash, and nothing that was put in its place."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.trainer.adapters.launching.mailbox import Mailbox
from services.trainer.adapters.launching.run_store import RunStore
from services.trainer.bootstrap.addressed import Places, train_by_address
from services.trainer.bootstrap.methods import ENVIRONMENT
from services.trainer.domain.launching.orders import Pinned
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job
from services.trainer.handlers.remote_files import RemoteFiles
from shared.artifacts import ArtifactCorrupt, Artifacts
from shared.errors import HeliotropeError
from shared.tables.trainer import Run
from tests.builders import make_recipe
from tests.unit.trainer.tiny_model import make_pairs, save_dataset


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteFiles]:
    """A deployment's store; what a training process changes of this one is put back."""
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path / "home"))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    artifacts = Artifacts(tmp_path / "cache", max_cache_bytes=1 << 30, root=(tmp_path / "store").as_uri())
    yield RemoteFiles(artifacts, artifacts.locate("remote/1"))
    for number, handler in handlers.items():
        signal.signal(number, handler)


def locate(files: RemoteFiles, tmp_path: Path, recipe: Recipe) -> Places:
    """What a worker tells a machine of things that are all there."""
    dataset, base = save_dataset(tmp_path / "dataset", make_pairs(8)), tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"weights")
    run = Run(dataset_uri=files.artifacts.store(dataset, "datasets/d"))
    base_uri = files.artifacts.store(base, "models/base")
    job = Job(recipe, base, dataset, tmp_path, None, tmp_path / "candidate", parent_uri=base_uri)
    where = files.locate(run, job)
    assert where.dataset.sha256 is not None
    return Places(
        recipe=files.store_recipe(recipe, "0"),
        base=where.base.uri,
        base_sha256=where.base.sha256,
        dataset=where.dataset.uri,
        dataset_sha256=where.dataset.sha256,
        output=where.output,
    )


def train(places: Places) -> None:
    train_by_address(places, attempt=1, max_seconds=None, trusted=(), threads=1, print_line=lambda _: None)


def assert_refused(files: RemoteFiles, places: Places, error: type[HeliotropeError], words: str) -> None:
    with pytest.raises(error, match=words):
        train(places)
    outcome = Mailbox(RunStore(files.artifacts, files.output), 1).read_outcome()
    assert outcome is not None
    assert (outcome.kind, outcome.cause) == ("failed", "setup")


def test_a_recipe_that_was_replaced_is_refused(files: RemoteFiles, tmp_path: Path):
    places = locate(files, tmp_path, make_recipe())
    files.store_recipe(make_recipe(learning_rate=1.0), "0")
    assert_refused(files, places, ArtifactCorrupt, "another artifact than the one")


def test_a_dataset_that_was_replaced_is_refused(files: RemoteFiles, tmp_path: Path):
    places = locate(files, tmp_path, make_recipe())
    files.artifacts.store(save_dataset(tmp_path / "theirs", make_pairs(6)), "datasets/d")
    assert_refused(files, places, HeliotropeError, "dataset cannot be used: .*another artifact")


@pytest.mark.parametrize(
    ("is_ordered", "words"), [(True, "give --base"), (False, "guards.max_kl")], ids=["a worker's", "by hand"]
)
def test_a_recipe_that_a_worker_ordered_may_hold_what_was_accepted_before(
    files: RemoteFiles, tmp_path: Path, is_ordered: bool, words: str
):
    former = parse_recipe({"name": "old", "method": "dpo", "max_steps": 6, "guards": {"max_kl": 0.5}}, stored=True)
    places = locate(files, tmp_path, former)
    recipe = places.recipe if is_ordered else Pinned(places.recipe.uri)
    assert_refused(files, replace(places, recipe=recipe, base=None), HeliotropeError, words)


def test_a_recipe_by_address_without_a_pin_is_read(files: RemoteFiles, tmp_path: Path):
    places = locate(files, tmp_path, make_recipe())
    unpinned = Places(
        recipe=Pinned(places.recipe.uri), base=None, base_sha256=None, dataset=None, dataset_sha256=None,
        output=places.output,
    )  # fmt: skip
    assert_refused(files, unpinned, HeliotropeError, "give --base, or write base into the recipe")
