"""Files from elsewhere: exports of other tools, and backups that somebody may have changed."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import strategies as st

from cli.exchange.apis.pages import NoPage, read_page
from cli.exchange.events import Import
from cli.exchange.files.reading import RecordFile
from cli.exchange.found import Found, Options, Refused
from cli.exchange.ports import Listing
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.tally import Tally
from cli.exchange.sending import encode_all
from cli.exchange.walking import walk
from local.errors import StackFailed
from local.stack.backup_folder import MANIFEST, SIGNATURE, seal, unseal
from shared.bus import decode
from shared.signing import Signer, Verifier, generate_key
from shared.user_hashes import UserHashes
from tests.hostile.fuzzing import SECONDS, damaged, damaged_bytes, fuzz
from tests.unit.exchange.reading_files import FIXTURES

pytestmark = pytest.mark.hostile

SHARE = 0.1
"""Of the time, for each of the tools and of the kinds of files."""
MEMORY_GROWTH_BYTES = 300 * 2**20
IMPORT = Import("fuzzed", "tests", datetime(2026, 11, 27, tzinfo=UTC), UserHashes("a secret of sixteen"))
SIGNER = Signer(generate_key())
TRUSTED = Verifier([SIGNER.public_key])


def list_sources() -> Iterator[tuple[str, list[Any]]]:
    """Every source with the records of its fixtures."""
    for source, importer in IMPORTERS.items():
        files = [path for path in sorted(FIXTURES.iterdir()) if path.stem.startswith(source) and path.suffix != ".csv"]
        records = [
            record for path in files for record in RecordFile(path, importer.wrappers) if isinstance(record, dict)
        ]
        if records:
            yield source, records


@pytest.mark.parametrize(("source", "records"), list(list_sources()))
def test_a_tools_export_is_imported_or_refused_record_by_record(source: str, records: list[Any], tmp_path: Path):
    """What comes of it is an event that any consumer can decode; nothing else is raised."""
    file, memory = tmp_path / "export.jsonl", psutil.Process()
    before = memory.memory_info().rss

    def check(content: bytes) -> None:
        file.write_bytes(content + b"\n")
        for _, found in walk([file], IMPORTERS[source], Options(), Tally()):
            with suppress(Refused):
                for record in encode_all(IMPORT.derive_events(found or Found())):
                    decode(record)

    assert fuzz(damaged_bytes(*records), check, SHARE * SECONDS)
    assert memory.memory_info().rss - before < MEMORY_GROWTH_BYTES


@pytest.mark.parametrize("name", ["export.json", "export.csv", "export.jsonl.gz", "export.parquet"])
def test_a_file_that_is_no_export_is_refused_with_its_reason(name: str, tmp_path: Path):
    path = tmp_path / name

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(StackFailed):
            for _ in walk([path], IMPORTERS["pairs"], Options(), Tally()):
                pass

    assert fuzz(
        st.binary(max_size=2_000) | damaged_bytes({"data": [{"prompt": "a", "chosen": "b"}]}), check, SECONDS / 10
    )


PAGES = {
    "cursor": {"data": [{"id": "a"}, {"id": "b"}], "meta": {"cursor": "2"}},
    "number": {"meta": {"page": 1, "totalPages": 3}, "data": [{"id": "a"}]},
    "after": {"object": "list", "data": [{"id": "a"}], "has_more": True, "last_id": "a"},
}
"""By how the next one is asked for."""


@pytest.mark.parametrize("paging", PAGES)
def test_a_page_of_a_tools_api_is_taken_apart_or_refused_as_a_whole(paging: Any):
    listing = Listing("/v1/x", {}, paging=paging)

    def check(content: bytes) -> None:
        with suppress(NoPage):
            listed = read_page(content)
            assert all(isinstance(record, dict | Refused) for record in listed.records)
            assert isinstance(listed.find_next(listing, "1"), str | None)

    assert fuzz(damaged_bytes(PAGES[paging]), check, SHARE * SECONDS)


NAMES = ["heliotrope.dump", "home/datasets/d/train.parquet", "home/secrets.json", MANIFEST, SIGNATURE]
STRANGE = [
    "../../evil",
    "home/../../x",
    "home/.ssh/authorized_keys",
    "home/datasets\\x",
    "a\0b",
    "home/gateway/../../x",
]


class Backup:
    """A sealed backup that strangers change, in a folder of its own with something beside it that must stay as it is.

    Nothing here leads out of that folder, whatever the code under test does: links point to the decoy, and harms write
    through no link.
    """

    def __init__(self, room: Path) -> None:
        self.sealed, self.changed, self.out = room / "sealed", room / "changed", room / "a" / "b" / "out"
        self.decoy = room / "decoy"
        self.decoy.mkdir()
        (self.decoy / "secret").write_text("a stranger's")
        for name in NAMES[:3]:
            (self.sealed / name).parent.mkdir(parents=True, exist_ok=True)
            (self.sealed / name).write_text(f"what stands in {name}")
        seal(self.sealed, {"home": "/home/of/ours", "version": "0.1.0"}, SIGNER)

    def reset(self) -> None:
        for path in (self.changed, self.out):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.sealed, self.changed)

    def _clear(self, name: str) -> Path | None:
        """The place of a file that nothing leads to but folders; None if a link is in the way."""
        path = self.changed / name
        if any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(self.changed)):
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        return path

    def plant_bytes(self, name: str, content: bytes) -> None:
        if path := self._clear(name):
            path.write_bytes(content)

    def plant_link(self, name: str, to_folder: bool) -> None:
        if path := self._clear(name):
            path.symlink_to(self.decoy if to_folder else self.decoy / "secret")

    def change_manifest(self, change: Callable[[Any], Any]) -> None:
        changed = json.dumps(change(json.loads((self.sealed / MANIFEST).read_text())))
        if path := self._clear(MANIFEST):
            path.write_text(changed)

    def restore(self, verifier: Verifier | None) -> dict[str, Path]:
        """What comes out of it, by name."""
        with suppress(StackFailed):
            backup = unseal(self.changed, verifier)
            for name in backup.files:
                target = self.out / name
                assert Path(os.path.normpath(target)).is_relative_to(self.out), name
                backup.take(name, target, None)
        assert [path.read_text() for path in self.decoy.rglob("*")] == ["a stranger's"]
        return {path.relative_to(self.out).as_posix(): path for path in self.out.rglob("*") if not path.is_dir()}


def list_harms(backup: Backup) -> st.SearchStrategy[Callable[[], None]]:
    """What a stranger does to a backup's folder."""
    planted = [*NAMES, "home/datasets/d/evil.py", "home/gateway/x", "home/.ssh/authorized_keys"]
    known = json.loads((backup.sealed / MANIFEST).read_text())
    strange = [*STRANGE, str(backup.decoy / "secret")]
    added = st.tuples(st.sampled_from(strange), st.text(max_size=8)).map(
        lambda entry: known | {"files": known["files"] | {entry[0]: entry[1]}}
    )
    bytes_ = st.builds(
        lambda name, content: lambda: backup.plant_bytes(name, content), st.sampled_from(planted), st.binary()
    )
    links = st.builds(
        lambda name, folder: lambda: backup.plant_link(name, folder),
        st.sampled_from([*NAMES, "home/gateway", "home/datasets/d/link"]),
        st.booleans(),
    )
    manifests = (added | damaged(known)).map(lambda changed: lambda: backup.change_manifest(lambda _: changed))
    return bytes_ | links | manifests


@pytest.mark.parametrize("verifier", [TRUSTED, None])
def test_a_backup_that_somebody_changed_brings_nothing_that_was_not_signed(verifier: Verifier | None, tmp_path: Path):
    """Unsigned (`--unsigned`) it may bring other words, but nowhere else than where backups go."""
    backup = Backup(tmp_path)
    known = {name: (backup.sealed / name).read_text() for name in NAMES[:3]}

    def check(harms: list[Callable[[], None]]) -> None:
        backup.reset()
        for harm in harms:
            with suppress(OSError):  # a file stands where a folder would have to
                harm()
        taken = backup.restore(verifier)
        assert not any(path.is_symlink() for path in taken.values())
        if verifier is not None:
            assert {name: path.read_text() for name, path in taken.items()}.items() <= known.items()

    assert fuzz(st.lists(list_harms(backup), min_size=1, max_size=3), check)
