"""What was stored comes back byte for byte, or not at all and with the reason."""

import errno
import json
import multiprocessing
import os
import shutil
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from shared.artifacts import (
    ArtifactCorrupt,
    ArtifactDenied,
    ArtifactNotFound,
    Artifacts,
    ArtifactStoreUnavailable,
    ArtifactTooLarge,
)
from shared.artifacts.storage import translate

KIB = 1024


def make_folder(folder: Path, *, weights: bytes = b"w" * KIB) -> Path:
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(weights)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "manifest.json").write_text('{"recipe": "dpo"}')
    return folder


def make_artifacts(tmp_path: Path, max_cache_bytes: int = 1 << 20) -> Artifacts:
    return Artifacts(tmp_path / "cache", max_cache_bytes=max_cache_bytes)


@pytest.fixture
def bucket() -> str:
    return f"memory://models-{uuid4().hex}"


def test_what_was_stored_comes_back_with_its_manifest(tmp_path: Path, bucket: str):
    artifacts = make_artifacts(tmp_path)
    content = artifacts.upload(make_folder(tmp_path / "candidate"), f"{bucket}/7")
    folder = artifacts.fetch(f"{bucket}/7", content)
    assert (folder / "adapter" / "adapter_model.safetensors").read_bytes() == b"w" * KIB
    assert json.loads((folder / "manifest.json").read_text())["recipe"] == "dpo"


def test_a_second_fetch_reads_no_more_than_the_manifest(tmp_path: Path, bucket: str):
    artifacts = make_artifacts(tmp_path)
    artifacts.upload(make_folder(tmp_path / "candidate"), f"{bucket}/7")
    first = artifacts.fetch(f"{bucket}/7")
    files = fsspec.filesystem("memory")
    files.rm(f"{bucket}/7/adapter/adapter_model.safetensors")
    assert make_artifacts(tmp_path).fetch(f"{bucket}/7") == first


def test_what_was_changed_in_the_cache_is_fetched_anew(tmp_path: Path, bucket: str):
    artifacts = make_artifacts(tmp_path)
    content = artifacts.upload(make_folder(tmp_path / "candidate"), f"{bucket}/7")
    weights = artifacts.fetch(f"{bucket}/7", content) / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(b"other weights")
    assert (artifacts.fetch(f"{bucket}/7", content) / "adapter" / weights.name).read_bytes() == b"w" * KIB
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [content]


def test_the_same_content_at_two_addresses_is_cached_once(tmp_path: Path, bucket: str):
    artifacts = make_artifacts(tmp_path)
    folder = make_folder(tmp_path / "candidate")
    assert artifacts.upload(folder, f"{bucket}/7") == artifacts.upload(folder, f"{bucket}/8")
    assert artifacts.fetch(f"{bucket}/7") == artifacts.fetch(f"{bucket}/8")


def test_a_local_folder_is_verified_where_it_is(tmp_path: Path):
    artifacts = make_artifacts(tmp_path)
    folder = make_folder(tmp_path / "base model")
    artifacts.upload(folder, str(folder))
    assert artifacts.fetch(str(folder)) == artifacts.fetch(folder.as_uri()) == folder
    (folder / "chat_template.jinja").write_text("{{ evil }}")
    with pytest.raises(ArtifactCorrupt, match=r"chat_template\.jinja"):
        artifacts.fetch(str(folder))


@pytest.mark.parametrize("harm", ["changed", "missing"])
def test_bytes_that_the_manifest_does_not_list_are_refused_and_leave_nothing(tmp_path: Path, bucket: str, harm: str):
    artifacts = make_artifacts(tmp_path)
    artifacts.upload(make_folder(tmp_path / "candidate"), f"{bucket}/7")
    files, weights = fsspec.filesystem("memory"), f"{bucket}/7/adapter/adapter_model.safetensors"
    files.pipe_file(weights, b"x" * KIB) if harm == "changed" else files.rm(weights)
    with pytest.raises((ArtifactCorrupt, ArtifactNotFound), match="adapter_model"):
        artifacts.fetch(f"{bucket}/7")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_half_written_artifact_is_not_there_yet(tmp_path: Path, bucket: str):
    artifacts = make_artifacts(tmp_path)
    artifacts.upload(make_folder(tmp_path / "candidate"), f"{bucket}/7")
    fsspec.filesystem("memory").rm(f"{bucket}/7/manifest.json")
    with pytest.raises(ArtifactNotFound):
        artifacts.fetch(f"{bucket}/7")


def test_another_artifact_than_the_one_asked_for_is_refused(tmp_path: Path, bucket: str):
    artifacts = make_artifacts(tmp_path)
    artifacts.upload(make_folder(tmp_path / "candidate"), f"{bucket}/7")
    with pytest.raises(ArtifactCorrupt, match="another artifact"):
        artifacts.fetch(f"{bucket}/7", "0" * 64)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a\\b", "", "manifest.json", "./a", "a\0b"])
def test_a_manifest_cannot_write_outside_its_folder(tmp_path: Path, bucket: str, name: str):
    manifest = {"files": {name: {"sha256": "0" * 64, "bytes": 1}}}
    fsspec.filesystem("memory").pipe_file(f"{bucket}/7/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ArtifactCorrupt, match="outside"):
        make_artifacts(tmp_path).fetch(f"{bucket}/7")


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"files": []}', b'{"files": {"a": 1}}', b"[" * 100_000])
def test_what_is_no_manifest_is_refused(tmp_path: Path, bucket: str, manifest: bytes):
    fsspec.filesystem("memory").pipe_file(f"{bucket}/7/manifest.json", manifest)
    with pytest.raises(ArtifactCorrupt, match="does not say"):
        make_artifacts(tmp_path).fetch(f"{bucket}/7")


def test_links_are_no_artifacts(tmp_path: Path, bucket: str):
    folder = make_folder(tmp_path / "candidate")
    (folder / "secret").symlink_to("/etc/passwd")
    with pytest.raises(ArtifactCorrupt, match="secret"):
        make_artifacts(tmp_path).upload(folder, f"{bucket}/7")


def test_nothing_at_the_address_says_so(tmp_path: Path, bucket: str):
    with pytest.raises(ArtifactNotFound, match=bucket):
        make_artifacts(tmp_path).fetch(f"{bucket}/7")


def test_an_address_without_a_driver_says_so(tmp_path: Path):
    with pytest.raises(ArtifactStoreUnavailable, match="no driver"):
        make_artifacts(tmp_path).fetch("carrier-pigeon://loft/7")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError("The specified bucket does not exist"), ArtifactNotFound),
        (PermissionError("InvalidAccessKeyId"), ArtifactDenied),
        (OSError(errno.ENOSPC, "No space left on device"), ArtifactTooLarge),
        (ConnectionRefusedError(), ArtifactStoreUnavailable),
        (TimeoutError(), ArtifactStoreUnavailable),
    ],
)
def test_a_stores_errors_are_told_apart_by_what_helps(error: OSError, told: type[Exception]):
    with pytest.raises(told), translate("s3://models/7"):
        raise error


def test_the_longest_unused_gives_way_and_what_is_held_does_not(tmp_path: Path, bucket: str):
    for number in (1, 2, 3):
        folder = make_folder(tmp_path / str(number), weights=bytes([number]) * KIB)
        make_artifacts(tmp_path).upload(folder, f"{bucket}/{number}")
    earlier = make_artifacts(tmp_path, 3_500)
    paths = {number: earlier.fetch(f"{bucket}/{number}") for number in (1, 2)}
    os.utime(paths[1], (1, 1))
    with pytest.raises(ArtifactTooLarge, match="in use"):
        earlier.fetch(f"{bucket}/3")
    earlier.close()
    later = make_artifacts(tmp_path, 3_500)
    assert later.fetch(f"{bucket}/3").exists()
    assert (paths[1].exists(), paths[2].exists()) == (False, True)
    with pytest.raises(ArtifactTooLarge, match="do not fit"):
        make_artifacts(tmp_path / "small", 100).fetch(f"{bucket}/3")


def fetch_elsewhere(cache: str, uri: str, answers: "multiprocessing.Queue[str]") -> None:
    answers.put(str(Artifacts(Path(cache), max_cache_bytes=1 << 20).fetch(uri)))


def test_two_processes_fetch_at_once_and_get_one_folder(tmp_path: Path):
    stored = tmp_path / "store"
    make_artifacts(tmp_path).upload(
        make_folder(tmp_path / "candidate", weights=os.urandom(300 * KIB)), f"local://{stored}"
    )
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()
    both = [
        context.Process(target=fetch_elsewhere, args=(str(tmp_path / "cache"), f"local://{stored}", answers))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    first, second = answers.get(timeout=60), answers.get(timeout=60)
    for process in both:
        process.join(60)
    assert first == second
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [Path(first).name]
    shutil.rmtree(first)


def test_what_a_killed_reader_left_is_deleted_and_what_is_read_or_of_another_kind_is_not(tmp_path: Path, bucket: str):
    places = {name: make_folder(tmp_path / name, weights=name.encode()) for name in ("left", "held", "model")}
    for name in ("left", "held"):
        (places[name] / "train.parquet").write_text(f"rows of {name}")
    for name, folder in places.items():
        make_artifacts(tmp_path).upload(folder, f"{bucket}/{name}")
    killed, reader = make_artifacts(tmp_path), make_artifacts(tmp_path)
    left = killed.fetch(f"{bucket}/left")
    model = killed.fetch(f"{bucket}/model")
    killed.close()  # as the end of its process does
    held = reader.fetch(f"{bucket}/held")
    make_artifacts(tmp_path).drop_unused("train.parquet")
    assert (left.exists(), held.exists(), model.exists()) == (False, True, True)
