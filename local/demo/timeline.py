"""What happened when, in seconds since the demo began."""

import time
from collections.abc import Callable
from typing import Any

MOST_NOTES = 500


class Timeline:
    """Stages in their order and the lines that were said meanwhile or right after; what comes before any is dropped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.stages: list[dict[str, Any]] = []

    @property
    def now(self) -> float:
        return round(self._clock() - self._began, 1)

    def begin(self, name: str, title: str) -> None:
        self.stages.append({"name": name, "title": title, "start": self.now, "end": None, "notes": []})

    def end(self) -> None:
        self.stages[-1]["end"] = self.now

    def note(self, summary: str) -> None:
        """Note something worth remembering of the stage in hand, or of the one just ended."""
        if summary and self.stages and len(self.stages[-1]["notes"]) < MOST_NOTES:
            self.stages[-1]["notes"].append({"at": self.now, "summary": summary})
