"""Artifacts in a real object store (SeaweedFS): they come back byte for byte, and what is wrong is said."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.artifacts import ArtifactCorrupt, ArtifactDenied, ArtifactNotFound, Artifacts, ArtifactStoreUnavailable
from tests.object_storage import BUCKET, ObjectStorage, serve_objects

ROOT = f"s3://{BUCKET}/shop"
MIB = 1 << 20


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    with serve_objects(tmp_path_factory.mktemp("objects") / "data") as running:
        yield running


def open_store(storage: ObjectStorage, folder: Path, root: str = ROOT, **stranger: Any) -> Artifacts:
    options = storage.options(**stranger)
    return Artifacts(folder / "cache", max_cache_bytes=1 << 30, root=root, storage_options=options)


def make_candidate(folder: Path, size: int = 3_000) -> Path:
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(os.urandom(size))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_what_one_machine_stored_another_fetches(storage: ObjectStorage, tmp_path: Path):
    candidate = make_candidate(tmp_path / "trainer" / "candidate")
    uri = open_store(storage, tmp_path / "trainer").store(candidate, "candidates/1")
    assert uri == f"{ROOT}/candidates/1"
    fetched = open_store(storage, tmp_path / "evaluator").fetch(uri)
    assert fetched.is_relative_to(tmp_path / "evaluator")
    weights = Path("adapter") / "adapter_model.safetensors"
    assert (fetched / weights).read_bytes() == (candidate / weights).read_bytes()


def test_complete_artifacts_are_listed_and_deleted_ones_are_gone(storage: ObjectStorage, tmp_path: Path):
    store = open_store(storage, tmp_path)
    assert store.list_below(store.locate("checkpoints/run-1")) == []
    for step in (1, 2):
        store.store(make_candidate(tmp_path / str(step)), f"checkpoints/run-1/7/checkpoint-{step}")
    store.delete(store.locate("checkpoints/run-1/7/checkpoint-1"))
    assert store.list_below(store.locate("checkpoints/run-1")) == ["7/checkpoint-2"]
    store.delete(store.locate("checkpoints/run-1"))
    store.delete(store.locate("checkpoints/run-1"))
    assert store.list_below(store.locate("checkpoints/run-1")) == []


def test_a_copy_to_go_on_from_is_whole_or_not_there(storage: ObjectStorage, tmp_path: Path):
    store = open_store(storage, tmp_path)
    uri = store.store(make_candidate(tmp_path / "checkpoint-2"), "checkpoints/run-2/1/checkpoint-2")
    store.download(uri, tmp_path / "elsewhere" / "checkpoint-2")
    assert (tmp_path / "elsewhere" / "checkpoint-2" / "tokenizer.json").read_text() == "{}"
    with pytest.raises(ArtifactNotFound):
        store.download(f"{uri}-not", tmp_path / "elsewhere" / "checkpoint-3")
    assert not (tmp_path / "elsewhere" / "checkpoint-3").exists()


def test_a_missing_bucket_is_named_by_those_who_write_and_who_read(storage: ObjectStorage, tmp_path: Path):
    store = open_store(storage, tmp_path, root="s3://no-such-bucket/shop")
    with pytest.raises(ArtifactNotFound, match="no-such-bucket"):
        store.store(make_candidate(tmp_path / "candidate"), "candidates/2")
    with pytest.raises(ArtifactNotFound, match="no-such-bucket"):
        store.fetch("s3://no-such-bucket/shop/candidates/2")


@pytest.mark.parametrize("stranger", [{"secret": "wrong"}, {"key": "nobody"}])
def test_wrong_credentials_are_said_to_be_wrong(storage: ObjectStorage, tmp_path: Path, stranger: dict[str, str]):
    candidate = make_candidate(tmp_path / "candidate")
    uri = open_store(storage, tmp_path).store(candidate, "candidates/3")
    store = open_store(storage, tmp_path / "stranger", **stranger)
    for attempt in (lambda: store.store(candidate, "candidates/3"), lambda: store.fetch(uri)):
        with pytest.raises(ArtifactDenied, match=r"candidates/3"):
            attempt()


def test_a_store_that_does_not_answer_is_worth_another_try(storage: ObjectStorage, tmp_path: Path):
    store = open_store(storage, tmp_path, endpoint="http://127.0.0.1:9")
    with pytest.raises(ArtifactStoreUnavailable, match="could not be reached"):
        store.fetch(f"{ROOT}/candidates/4")


def test_a_half_written_object_is_refused(storage: ObjectStorage, tmp_path: Path):
    from s3fs import S3FileSystem

    store = open_store(storage, tmp_path)
    uri = store.store(make_candidate(tmp_path / "candidate"), "candidates/5")
    weights = f"{uri}/adapter/adapter_model.safetensors"
    files = S3FileSystem(**storage.options())
    files.pipe_file(weights, files.cat_file(weights)[:-1])
    with pytest.raises(ArtifactCorrupt, match="adapter_model"):
        store.fetch(uri)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_server_that_dies_in_mid_upload_leaves_nothing_to_be_fetched(tmp_path: Path):
    with serve_objects(tmp_path / "data") as dying:
        store = open_store(dying, tmp_path)
        candidate = make_candidate(tmp_path / "candidate", 200 * MIB)
        killer = threading.Thread(target=kill_soon, args=(dying,))
        killer.start()
        with pytest.raises(ArtifactStoreUnavailable):
            store.store(candidate, "candidates/6")
        killer.join()
    with serve_objects(tmp_path / "data") as back:
        with pytest.raises(ArtifactNotFound):
            open_store(back, tmp_path).fetch(f"{ROOT}/candidates/6")
        again = open_store(back, tmp_path)
        assert again.fetch(again.store(candidate, "candidates/6")).is_dir()


def kill_soon(storage: ObjectStorage) -> None:
    time.sleep(0.3)
    os.killpg(storage.process.pid, signal.SIGKILL)
