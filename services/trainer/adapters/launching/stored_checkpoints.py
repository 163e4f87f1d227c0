"""Checkpoints of a run by address: each machine stores its part, and any machine gets the whole back."""

import re
import shutil
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import structlog

from services.trainer.adapters.artifacts.run_storage import choose_newest
from services.trainer.adapters.launching.run_store import RunStore
from services.trainer.domain.planning.places import Place
from shared.artifacts import ArtifactStoreUnavailable
from shared.artifacts.manifest import NAME
from shared.errors import HeliotropeError

logger = structlog.get_logger(__name__)

CHECKPOINTS = "checkpoints"
PART = re.compile(r"part-([0-9]{1,6})-of-([0-9]{1,6})")


class StoredCheckpoints:
    """`<output>/checkpoints/<attempt>/[<stage>/]checkpoint-<step>/part-<machine>-of-<machines>`."""

    def __init__(self, store: RunStore, folder: Path, place: Place) -> None:
        """Keep in step with a local folder of attempts."""
        self._store, self._folder, self._place = store, folder, place
        self._missed: Path | None = None

    def restore(self) -> None:
        """Bring the newest checkpoint of each stage here whose parts are all there. Raises: as `Artifacts.fetch`."""
        whole = find_whole(self._list())
        for name in choose_newest(sorted(whole)):
            if not (self._folder / name).exists():
                self._fetch(name, whole[name])

    def keep(self, checkpoint: Path) -> None:
        """Store this machine's part of a complete checkpoint, and delete what the local disk no longer has.

        A store that is away is no reason to end a run: the next checkpoint is stored, or this one at its end.
        """
        self._missed = checkpoint
        with suppress(ArtifactStoreUnavailable):
            self.keep_missed()

    def keep_missed(self) -> None:
        """Store the newest checkpoint if the store was away when it came. Raises: ArtifactStoreUnavailable."""
        checkpoint = self._missed
        if checkpoint is None or not checkpoint.exists():
            return
        try:
            self._upload(checkpoint)
            self._missed = None
        except HeliotropeError as error:
            logger.warning("checkpoint_not_stored", checkpoint=checkpoint.name, error=error.detail)
            if isinstance(error, ArtifactStoreUnavailable):
                raise

    def _upload(self, checkpoint: Path) -> None:
        name = checkpoint.relative_to(self._folder).as_posix()
        self._store.upload(checkpoint, f"{CHECKPOINTS}/{name}/part-{self._place.rank}-of-{self._place.count}")
        if self._place.is_first:
            self._delete_outdated()

    def _fetch(self, name: str, parts: list[str]) -> None:
        draft = self._folder / ".draft"
        shutil.rmtree(draft, ignore_errors=True)
        for part in parts:
            self._store.download(f"{CHECKPOINTS}/{name}/{part}", draft / part)
            shutil.copytree(draft / part, draft / "whole", dirs_exist_ok=True, ignore=shutil.ignore_patterns(NAME))
            shutil.rmtree(draft / part)
        (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / "whole").rename(self._folder / name)
        logger.info("checkpoint_restored", checkpoint=name)

    def _delete_outdated(self) -> None:
        for place in self._list():
            name, _, part = place.rpartition("/")
            if name and PART.fullmatch(part) and not (self._folder / name).exists():
                self._store.artifacts.delete(self._store.locate(f"{CHECKPOINTS}/{place}"))

    def _list(self) -> list[str]:
        return self._store.artifacts.list_below(self._store.locate(CHECKPOINTS))


def find_whole(places: list[str]) -> dict[str, list[str]]:
    """Find the checkpoints of which every part is there; returns their parts by name."""
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for place in places:
        name, _, part = place.rpartition("/")
        if name and (match := PART.fullmatch(part)):
            found[name, int(match[2])].append(part)
    return {name: parts for (name, count), parts in found.items() if len(parts) == count}
