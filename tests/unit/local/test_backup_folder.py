"""Nothing but what a trusted key has signed comes out of a backup's folder, and nothing leaves the home."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from local.errors import StackFailed
from local.stack.backup_folder import MANIFEST, SIGNATURE, may_stand, seal, unseal, walk
from shared.signing import Signer, Verifier, generate_key

SIGNER = Signer(generate_key())
TRUSTED = Verifier([SIGNER.public_key])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "backup"
    (folder / "home" / "datasets" / "d").mkdir(parents=True)
    (folder / "home" / "datasets" / "d" / "train.parquet").write_text("rows")
    (folder / "home" / "secrets.json").write_text("{}")
    (folder / "heliotrope.dump").write_text("dump")
    seal(folder, {"home": "/home/of/ours"}, SIGNER)
    return folder


def test_what_was_sealed_is_taken_whole(folder: Path, tmp_path: Path):
    backup = unseal(folder, TRUSTED)
    assert sorted(backup.list_home_files()) == ["home/datasets/d/train.parquet", "home/secrets.json"]
    backup.take("home/secrets.json", tmp_path / "out" / "secrets.json", None)
    assert (tmp_path / "out" / "secrets.json").read_text() == "{}"
    assert (tmp_path / "out" / "secrets.json").stat().st_mode & 0o777 == 0o600


def plant(folder: Path) -> None:
    (folder / "home" / "datasets" / "planted.py").write_text("evil")


def link_a_file(folder: Path) -> None:
    (folder / "home" / "secrets.json").unlink()
    (folder / "home" / "secrets.json").symlink_to("/etc/passwd")


def link_a_folder(folder: Path) -> None:
    (folder / "home" / "gateway").symlink_to("/etc")


def lose_a_file(folder: Path) -> None:
    (folder / "heliotrope.dump").unlink()


def edit_the_manifest(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"home": "/root"}))


def lose_the_signature(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


@pytest.mark.parametrize(
    "harm", [plant, link_a_file, link_a_folder, lose_a_file, edit_the_manifest, lose_the_signature]
)
def test_a_folder_that_somebody_changed_is_refused(folder: Path, harm: Callable[[Path], None]):
    harm(folder)
    with pytest.raises(StackFailed):
        unseal(folder, TRUSTED)


def test_a_file_that_changes_after_the_look_is_found_out_when_it_is_taken(folder: Path, tmp_path: Path):
    backup = unseal(folder, TRUSTED)
    (folder / "heliotrope.dump").write_text("another")
    with pytest.raises(StackFailed, match="damaged"):
        backup.take("heliotrope.dump", tmp_path / "dump", None)
    assert not (tmp_path / "dump").exists()


OUTSIDE = [
    "../outside",
    "home/../../outside",
    "/etc/passwd",
    "home/../secrets.json",
    "home/.ssh/authorized_keys",
    "home/runs/x",
    "home",
    "other.dump",
    "home/datasets/../../x",
    "home//secrets.json",
    "home/secrets.json/x",
    "home\\x",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_the_places_that_are_backed_up(folder: Path, name: str):
    assert not may_stand(name)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"files": {**manifest["files"], name: "0" * 64}}))
    with pytest.raises(StackFailed, match="nothing is restored"):
        unseal(folder, None)


@pytest.mark.parametrize(
    "name",
    ["heliotrope.dump", "mlflow.dump.age", "home/secrets.json", "home/gateway/spool.sqlite", "home/datasets/d/a.age"],
)
def test_what_backups_hold_may_stand(name: str):
    assert may_stand(name)


def test_links_are_not_followed_and_what_vanishes_is_left_out(tmp_path: Path):
    (tmp_path / "kept").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert [path.name for path in walk(tmp_path)] == ["kept"]
    assert list(walk(tmp_path / "never there")) == []
