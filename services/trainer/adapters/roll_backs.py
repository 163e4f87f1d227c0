"""Which checkpoint of a run is good to go back to."""

from pathlib import Path

from services.trainer.adapters.checkpoints import delete_folder


class GoodCheckpoints:
    """Checkpoints count as good once a later step was healthy: what a step logs is older than its weights."""

    def __init__(self) -> None:
        self._saved: list[tuple[int, Path]] = []
        self._good: tuple[int, Path] | None = None

    def add(self, step: int, checkpoint: Path) -> None:
        self._saved.append((step, checkpoint))

    def confirm(self, step: int) -> None:
        """This step was healthy."""
        confirmed = [saved for saved in self._saved if saved[0] < step]
        if confirmed:
            self._good = max(confirmed)
            self._saved = [saved for saved in self._saved if saved[0] >= step]

    @property
    def newest(self) -> Path | None:
        return self._good[1] if self._good and self._good[1].is_dir() else None

    def drop_later(self) -> None:
        """Delete what was saved after the newest good one, so that nobody resumes from it."""
        for _, checkpoint in self._saved:
            delete_folder(checkpoint)
        self._saved = []
