"""Files in the artifact store between a run that trains elsewhere and the worker that watches it.

`<output>/attempts/<number>/reports/<n>`: what the run reports, some lines at a time, in order;
`<output>/attempts/<number>/outcome`: how it ended; `.../ends/<rank>`: how one of its other machines did;
`.../candidate`: what it trained. Each is an artifact with a
manifest, so that nobody reads half of one.
"""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from services.trainer.adapters.distributed.exchange import read_line, write_call
from services.trainer.adapters.launching.patience import call_patiently
from services.trainer.adapters.launching.run_store import RunStore
from services.trainer.domain.guards.verdict import Metrics
from services.trainer.domain.launching.endings import Outcome, dump_outcome, parse_outcome
from services.trainer.domain.training import Interrupted
from shared.artifacts import ArtifactCorrupt, ArtifactNotFound, Artifacts, ArtifactStoreUnavailable
from shared.errors import HeliotropeError

logger = structlog.get_logger(__name__)

BEGUN, LINES, OUTCOME, CANDIDATE = "begun", "reports.jsonl", "outcome.json", "candidate"
SEND_SECONDS = 2.0
KEPT_LINES = 10_000
"""While the store is away; the oldest go first."""


class Mailbox:
    """One attempt's place in the store."""

    def __init__(self, store: RunStore, number: int, patience_seconds: float = 0.0) -> None:
        """`patience_seconds`: how long the store may be away when a run begins or stores what it comes to."""
        self._store, self._patience_seconds = store, patience_seconds
        self._place = f"attempts/{number}"

    def begin(self) -> None:
        """Note that this attempt has begun.

        Raises:
            Interrupted: it had begun before: its engine started it again, and what it left counts for the next.
            HeliotropeError: as `Artifacts.upload`.
        """
        if call_patiently(partial(self._read, "begun", BEGUN), self._patience_seconds) is not None:
            error = Interrupted("the engine started this attempt a second time")
            if call_patiently(self.read_outcome, self._patience_seconds) is None:  # what it came to before counts
                self.send_outcome(Outcome("interrupted", error.detail))
            raise error
        self._send_patiently("begun", BEGUN, b"begun\n")

    def fail(self, error: HeliotropeError, rank: int) -> None:
        """Store that the run could not begin on a machine: what it needs is not there, or the store does not answer."""
        passing = isinstance(error, ArtifactStoreUnavailable)
        self.send_outcome(Outcome("interrupted" if passing else "failed", error.detail, "setup"), rank)

    def send_lines(self, number: int, lines: list[str]) -> None:
        """Store the `number`th report. Raises: as `Artifacts.upload`."""
        self._send(f"reports/{number:06d}", LINES, "".join(f"{line}\n" for line in lines).encode())

    def send_outcome(self, outcome: Outcome, rank: int = 0) -> None:
        """Store how the run ended; its candidate must be there already. Raises: as `Artifacts.upload`.

        `rank`: of the machine; the word of any but the first is only how that one ended.
        """
        self._send_patiently(_name_end(rank), OUTCOME, dump_outcome(outcome))

    def send_candidate(self, folder: Path) -> str:
        """Store what was trained; returns the hash that it is known by. Raises: as `Artifacts.upload`."""
        upload = partial(self._store.artifacts.upload, folder, self._locate_candidate())  # the outcome has its hash
        return call_patiently(upload, self._patience_seconds)

    def read_lines(self, number: int) -> list[list[Any]] | None:
        """Read the `number`th report; None while it is not there. Raises: as `Artifacts.fetch`."""
        content = self._read(f"reports/{number:06d}", LINES)
        return None if content is None else [read_line(line) for line in content.splitlines()]

    def read_outcome(self) -> Outcome | None:
        """Read how the run ended; None while it has not. Raises: as `Artifacts.fetch`."""
        content = self._read(_name_end(0), OUTCOME)
        return None if content is None else parse_outcome(content)

    def read_others(self, nodes: int) -> list[Outcome]:
        """Read how machines behind the first ended, of those that left a word. Raises: as `Artifacts.fetch`."""
        found = [self._read(_name_end(rank), OUTCOME) for rank in range(1, nodes)]
        return [parse_outcome(content) for content in found if content is not None]

    def fetch_candidate(self, folder: Path, content_sha256: str | None) -> None:
        """Copy what was trained into a folder that is not there yet.

        Raises:
            ArtifactCorrupt: its files are not those that the run spoke of.
            HeliotropeError: others, as `Artifacts.fetch`.
        """
        shutil.rmtree(folder, ignore_errors=True)
        found = self._store.artifacts.download(self._locate_candidate(), folder)
        if found != content_sha256:
            shutil.rmtree(folder)
            raise ArtifactCorrupt(f"the candidate's files hash to {found}, and the run spoke of {content_sha256}")

    def _locate_candidate(self) -> str:
        return self._store.locate(f"{self._place}/{CANDIDATE}")

    def _send_patiently(self, place: str, name: str, content: bytes) -> None:
        call_patiently(partial(self._send, place, name, content), self._patience_seconds)

    def _send(self, place: str, name: str, content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(content)
            self._store.upload(Path(folder), f"{self._place}/{place}")

    def _read(self, place: str, name: str) -> bytes | None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            try:
                self._store.download(f"{self._place}/{place}", copy)
            except ArtifactNotFound:
                return None
            return (copy / name).read_bytes()


def _name_end(rank: int) -> str:
    return f"ends/{rank}" if rank else "outcome"


def find_next_attempt(artifacts: Artifacts, output: str) -> int:
    """Find the number of the next start at an output. Raises: as `Artifacts.list_below`."""
    places = [*artifacts.list_below(f"{output}/attempts"), *artifacts.list_below(f"{output}/checkpoints")]
    numbers = [int(number) for number in (place.partition("/")[0] for place in places) if number.isdigit()]
    return max(numbers, default=0) + 1


class ReportSender:
    """A reporter that tells the worker of everything, every few seconds, by a thread of its own.

    A store that is away holds no step up and loses no report but the oldest of very many.
    """

    def __init__(self, mailbox: Mailbox, stop: threading.Event) -> None:
        self._mailbox, self._stop = mailbox, stop
        self._lines: list[str] = []
        self._sent = 0
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._send_often, name="reports", daemon=True)
        self._thread.start()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def on_phase(self, phase: str) -> None:
        self._add("phase", phase)

    def on_step(self, step: int, total: int) -> None:
        self._add("step", step, total)

    def on_micro_step(self) -> None:
        """Do nothing: the worker looks after the claim."""

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        self._add("metrics", step, dict(metrics))

    def on_note(self, note: str) -> None:
        self._add("note", note)

    def on_checkpoint(self, checkpoint: Path) -> None:
        self._add("checkpoint", checkpoint.name)

    def close(self) -> None:
        """Send what is left."""
        self._ended.set()
        self._thread.join(10 * SEND_SECONDS)
        self._send()

    def _add(self, *call: Any) -> None:
        with self._lock:
            self._lines.append(write_call(*call))
            del self._lines[:-KEPT_LINES]

    def _send_often(self) -> None:
        while not self._ended.wait(SEND_SECONDS):
            self._send()

    def _send(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self._mailbox.send_lines(self._sent + 1, lines)
            self._sent += 1
        except HeliotropeError as error:
            logger.warning("reports_not_sent", error=error.detail)
            with self._lock:
                self._lines = [*lines, *self._lines][-KEPT_LINES:]


def read_new(mailbox: Mailbox, after: int) -> Iterator[tuple[int, list[list[Any]]]]:
    """Read the reports that came after the `after`th, each with its number. Raises: as `Artifacts.fetch`."""
    while (lines := mailbox.read_lines(after + 1)) is not None:
        after += 1
        yield after, lines
