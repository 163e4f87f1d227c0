"""Where a try is written: never where something is already."""

import stat
from pathlib import Path

import pytest

from cli.trying.datasets import curate_evidence, write_snapshot
from cli.trying.folders import find_folder, make_folder, writing_for_the_owner_alone
from local.errors import StackFailed
from tests.unit.cli.trying.histories import WordEmbedder, list_rows, read_rows


def test_each_try_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for _ in range(3):
        found.append(find_folder(None))
        make_folder(found[-1])
    assert [str(folder) for folder in found] == ["try", "try-2", "try-3"]


def test_a_new_or_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "above" / "new"):
        make_folder(find_folder(folder))
        assert folder.is_dir()


@pytest.mark.parametrize(
    ("name", "problem"),
    [("full", "holds something"), ("file", "is a file"), ("link", "is a link"), ("dead", "is a link")],
)
def test_what_is_there_is_refused_and_stays(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "try.json").write_text("{}")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    for take in (find_folder, make_folder):
        with pytest.raises(StackFailed, match=r"--output"):
            take(tmp_path / name)
    with pytest.raises(StackFailed, match=problem):
        find_folder(tmp_path / name)
    assert (tmp_path / "full" / "try.json").read_text() == "{}"
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_below_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StackFailed, match="cannot be made"):
        make_folder(tmp_path / "file" / "below")


def test_users_texts_are_written_for_their_owner_alone(tmp_path: Path) -> None:
    curation = curate_evidence(read_rows(tmp_path / "pairs.jsonl", list_rows()).evidence, WordEmbedder())
    with writing_for_the_owner_alone():
        folder = write_snapshot(tmp_path / "datasets", curation.snapshot, curation, "words")
    written = [folder.parent, folder, *folder.rglob("*")]
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in written}
    assert modes == {(True, 0o700), (False, 0o600)}
