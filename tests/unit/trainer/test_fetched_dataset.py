"""A run trains on the dataset that was frozen, from wherever it lies, or not at all."""

from pathlib import Path
from uuid import uuid4

import pytest

from services.curator.datasets.adapters import SCHEMAS, DatasetContent, write_dataset
from services.trainer.adapters.artifacts.dataset import fetch_dataset
from services.trainer.domain.training import TrainingFailed
from shared.artifacts import Artifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "cache", max_cache_bytes=1 << 20)


def freeze(folder: Path) -> Path:
    content = DatasetContent("a" * 64, {name: [] for name in SCHEMAS}, {"counts": {}}, "a card", [])
    return write_dataset(folder, content)


def test_a_local_dataset_is_used_where_it_is(tmp_path: Path, artifacts: Artifacts):
    folder = freeze(tmp_path)
    assert fetch_dataset(artifacts, str(folder)) == fetch_dataset(artifacts, folder.as_uri()) == folder


def test_a_stored_dataset_is_fetched_whole(tmp_path: Path, artifacts: Artifacts):
    folder, address = freeze(tmp_path), f"memory://datasets-{uuid4().hex}/1"
    artifacts.upload(folder, address)
    fetched = fetch_dataset(artifacts, address)
    assert fetched != folder
    assert (fetched / "train.parquet").read_bytes() == (folder / "train.parquet").read_bytes()


def test_a_dataset_that_was_changed_after_it_was_frozen_is_not_trained_on(tmp_path: Path, artifacts: Artifacts):
    folder = freeze(tmp_path)
    (folder / "train.parquet").write_bytes((folder / "validation.parquet").read_bytes() + b"more")
    with pytest.raises(TrainingFailed, match=r"train\.parquet"):
        fetch_dataset(artifacts, str(folder))


def test_a_dataset_of_release_0_1_0_lists_no_files_and_is_taken_as_it_is(tmp_path: Path, artifacts: Artifacts):
    (tmp_path / "manifest.json").write_text('{"counts": {}}')
    assert fetch_dataset(artifacts, str(tmp_path)) == tmp_path


def test_a_dataset_that_is_nowhere_fails_the_run(tmp_path: Path, artifacts: Artifacts):
    with pytest.raises(TrainingFailed, match="cannot be used"):
        fetch_dataset(artifacts, str(tmp_path / "gone"))


def test_a_store_that_cannot_be_reached_is_worth_another_try(artifacts: Artifacts):
    with pytest.raises(ConnectionError):
        fetch_dataset(artifacts, "carrier-pigeon://loft/1")
