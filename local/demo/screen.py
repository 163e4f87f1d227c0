"""The terminal: the loop's stages with progress and time left, live where it is a terminal, lines where it is not."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from local.demo.timeline import Timeline

LINE_EVERY_SECONDS = 15.0


class Screen:
    """One bar for the stage in hand; finished stages stay above it as lines."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.seconds: dict[str, float] = {}
        self.timeline = Timeline()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._title = ""
        self._printed_at = 0.0

    def say(self, words: str) -> None:
        """Print a line that stays."""
        self.timeline.note(words.strip())
        (self._progress.console if self._progress else self.console).print(words, markup=False)

    def link(self, words: str, path: Path) -> None:
        """Print an address that a terminal can open: never wrapped."""
        self.console.print(f"{words}: {path.as_uri()}", markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Yield a stage of the loop: its seconds are kept under `name`."""
        started = time.monotonic()
        self._title, self._printed_at = title, started
        self.timeline.begin(name, title)
        self.console.print(f"[bold]{title}[/bold]")
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        try:
            if self.console.is_terminal:
                with Progress(*columns, console=self.console, transient=True) as self._progress:
                    self._task = self._progress.add_task("", total=None)
                    yield
            else:
                yield
        finally:
            self._progress = None
            self.timeline.end()
            self.seconds[name] = round(time.monotonic() - started, 1)
        self.console.print(f"  done in {self.seconds[name]:.0f} s", markup=False)

    def show(
        self, words: str, done: float | None = None, total: float | None = None, left: float | None = None
    ) -> None:
        """Show where the stage stands; `left` in seconds."""
        text = words + (f", about {_in_words(left)} left" if left is not None else "")
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text, completed=done, total=total)
        elif time.monotonic() - self._printed_at >= LINE_EVERY_SECONDS:
            self._printed_at = time.monotonic()
            self.console.print(f"  {text}", markup=False)


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
